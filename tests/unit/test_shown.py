from __future__ import annotations

import logging
import math

import pytest

from disttrain import journal
from disttrain.errors import DataError, RankFailure
from disttrain.shown import decimals, quoted, shown, shown_lines


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ä 日本 naïve", "ä 日本 naïve"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\udcff\ud800", "\\udcff\\ud800"),
        ("a\x00b\x7f\x9b", "a\\x00b\\x7f\\x9b"),
        ("", ""),
    ],
)
def test_what_does_something_is_escaped(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert seen.isprintable()


def test_of_a_long_text_the_middle_is_left_out() -> None:
    seen = shown("a" * 50_000 + "\x1b" * 49_990 + "the advice", most=300)
    assert seen.startswith("aaa")
    assert seen.endswith("\\x1bthe advice")
    assert "... (99700 characters) ..." in seen
    assert len(seen) < 1000
    assert shown("a" * 2000) == "a" * 2000


def test_a_value_that_python_does_not_write_is_described() -> None:
    assert shown(10**100_000) == "an integer of 100001 digits"
    assert quoted(16**5000) == "an integer of 6021 digits"
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert "too deep" in quoted(deep)
    while deep:
        deep = deep.pop()
    assert quoted("it's") == '"it\'s"'


def test_a_traceback_keeps_its_lines() -> None:
    assert shown_lines("one\n  two\x1b\n") == "one\n  two\\x1b"


def test_every_error_is_one_line_that_does_nothing() -> None:
    assert str(DataError("file \x1b[2J\nx" + "y" * 100_000 + ": mend it")).endswith(": mend it")
    assert len(str(DataError("y" * 100_000))) < 3000
    failure = RankFailure(1, "callback", "ValueError: \x1b[2J", 1)
    assert (str(failure), failure.cause) == (
        "rank 1 failed in callback: ValueError: \\x1b[2J", "ValueError: \\x1b[2J",
    )  # fmt: skip


def test_what_a_rank_says_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    journal.listen(verbose=False)
    journal.note("odd", logging.WARNING, name="\x1b[2J\n" + "x" * 100_000)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\\x1b[2J\\nxxx" in said
    assert len(said) < 3000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05424, "0.0542"), (0.0, "0.0000"), (713.35142, "713.3514"), (-0.5, "-0.5000"),
        (1.2e30, "1.2e+30"), (2.5e6, "2.5e+06"), (0.00004, "4e-05"), (3.14e-7, "3.14e-07"),
        (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_loss_is_short_however_large_or_small(value: float, text: str) -> None:
    assert decimals(value) == text
