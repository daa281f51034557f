"""The journal's file: whole lines with who and when, and no failure of its own."""

import json
import logging
import os
import warnings
from datetime import datetime

import pytest

from disttrain import journal


@pytest.fixture
def rank(tmp_path):
    """Rank 3 with its journal in a folder."""
    before = logging.captureWarnings, journal.LOG.level, journal.LOG.propagate
    journal.who(3, "node7")
    with journal.kept_in(tmp_path, 3):
        yield journal.path_of(tmp_path, 3)
    journal.who(0, "vm")
    logging.captureWarnings(False)
    for logger in (journal.LOG, journal.PYTHON):
        for handler in [h for h in logger.handlers if isinstance(h, journal.Lines)]:
            logger.removeHandler(handler)
    journal.LOG.setLevel(before[1])
    journal.LOG.propagate = journal.PYTHON.propagate = before[2]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_says_when_who_and_what(rank):
    journal.note("saved", step=5, seconds=0.25)
    (line,) = lines(rank)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "rank": 3, "host": "node7", "level": "info", "event": "saved", "step": 5, "seconds": 0.25,
    }  # fmt: skip


def test_a_line_is_on_the_disk_at_once_and_the_next_start_goes_on_behind_it(rank, tmp_path):
    journal.note("one")
    assert [line["event"] for line in lines(rank)] == ["one"]
    with journal.kept_in(tmp_path, 3):
        journal.note("two")
    assert [line["event"] for line in lines(rank)] == ["one", "two"]


def test_nothing_is_written_without_a_folder(tmp_path):
    with journal.kept_in(tmp_path, 0):
        assert journal.is_open()
    journal.note("lost")
    assert not journal.is_open()
    assert lines(journal.path_of(tmp_path, 0)) == []


def test_a_run_inside_another_has_its_own_journal_and_its_own_rank(rank, tmp_path):
    journal.note("before")
    with journal.kept_in(tmp_path / "inner", 0):
        journal.note("inside")
    journal.note("after")
    assert [(line["rank"], line["event"]) for line in lines(rank)] == [(3, "before"), (3, "after")]
    inner = lines(journal.path_of(tmp_path / "inner", 0))
    assert [(line["rank"], line["host"], line["event"]) for line in inner] == [
        (0, "node7", "inside")
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path, capfd):
    (tmp_path / "logs").mkdir()
    journal.path_of(tmp_path, 0).symlink_to("/dev/full")
    journal.who(0, "vm")
    with journal.kept_in(tmp_path, 0):
        journal.note("one")
        journal.note("two")
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "rank 0 (vm)" in said
    assert "No space left on device" in said


def test_a_folder_that_can_not_be_made_is_said_once(tmp_path, capfd):
    (tmp_path / "logs").write_text("a file in the way")
    with journal.kept_in(tmp_path, 0):
        journal.note("one")
    assert capfd.readouterr().err.count("can't be written") == 1


def test_people_read_warnings_only_and_with_verbose_all_but_what_they_are_told(rank, capfd):
    def said():
        journal.note("saved", step=5)
        journal.note("deadline near", logging.WARNING, phase="forward")
        journal.note("summary", printed=True, status="completed")
        journal.note("error", logging.ERROR, text="boom")
        return capfd.readouterr().err

    journal.listen(verbose=False)
    assert said() == "rank 3 (node7): deadline near: phase forward\n"
    journal.listen(verbose=True)
    assert said() == (
        "rank 3 (node7): saved: step 5\nrank 3 (node7): deadline near: phase forward\n"
    )


@pytest.mark.parametrize(
    ("number", "verbose", "printed"), [(0, False, 1), (3, False, 0), (3, True, 1)]
)
def test_pythons_warnings_are_printed_once_and_stand_in_each_journal(
    rank, capfd, number, verbose, printed
):
    journal.listen(verbose)
    journal.who(number, "node7")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("odd rows", RuntimeWarning, stacklevel=1)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == printed
    for line in said:
        assert line.startswith(f"rank {number} (node7): ")
        assert "RuntimeWarning: odd rows" in line
    (line,) = lines(rank)
    assert line["event"] == "python warning"
    assert line["level"] == "warning"


def test_a_traceback_stays_in_one_line(rank):
    journal.note("error", logging.ERROR, traceback="Traceback:\n  here\n")
    assert rank.read_text().count("\n") == 1
    assert lines(rank)[0]["traceback"] == "Traceback:\n  here\n"
