"""The score-card says what happened: a scenario that fails, hangs or is never played is no pass."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.cluster.docker.card import Card, Failed, Skipped, expect


@pytest.fixture
def lines() -> list[str]:
    return []


def passes() -> str:
    return "a detail"


def fails() -> str:
    expect(False, "another digest")
    return ""


def breaks() -> str:
    raise ValueError("broken")


def hangs() -> str:
    subprocess.run(["sleep", "60"], check=True)
    return ""


def skips() -> str:
    raise Skipped("no netem")


def test_outcomes_are_told_and_counted(lines: list[str]) -> None:
    card = Card(30, lines.append)
    for scenario in (passes, fails, breaks, skips):
        assert card.play(scenario.__name__, 10, scenario) == (scenario in (passes, skips))
    assert card.close() == 1
    assert [line.partition(" ... ")[2].split()[0] for line in lines[:4]] == [
        "ok",
        "FAILED",
        "FAILED",
        "skipped",
    ]
    assert lines[0].endswith(" s a detail")
    assert lines[1].endswith(" s another digest")
    assert lines[2].endswith(" s ValueError: broken")
    assert lines[-1] == "1 passed, 2 failed, 1 skipped"


def test_a_scenario_that_hangs_is_ended(lines: list[str]) -> None:
    card, began = Card(30, lines.append), time.monotonic()
    assert not card.play("hangs", 0.2, hangs)
    assert time.monotonic() - began < 30
    assert "did not end within" in lines[0]
    assert card.play("passes", 10, passes)


def test_what_was_not_played_has_failed(lines: list[str]) -> None:
    card = Card(0, lines.append)
    assert not card.play("passes", 10, passes)
    assert card.close() == 1


def test_all_skipped_is_no_pass(lines: list[str]) -> None:
    card = Card(30, lines.append)
    assert card.play("skips", 10, skips)
    assert card.close() == 1


def test_all_passed(lines: list[str]) -> None:
    card = Card(30, lines.append)
    card.play("passes", 10, passes)
    assert card.close() == 0
    assert lines[-1] == "1 passed, 0 failed"
    with pytest.raises(Failed):
        expect(False, "")
