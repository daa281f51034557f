"""Which rank holds the others up, by the board of a node: what it does, and after how long."""

import math
import time

import numpy as np
import pytest

from disttrain.comm.standstill import limit_of, standstill
from disttrain.comm.watch import BOARD


def board(*phases, ago):
    """A board of ranks that have been in these phases for so many seconds each."""
    rows, now = np.zeros(len(phases), BOARD), time.monotonic()
    for rank, (phase, seconds) in enumerate(zip(phases, ago, strict=True)):
        rows[rank] = (rank, 1000 + rank, now - seconds, now, now, phase.encode())
    return rows


def found_on(rows, waited):
    return standstill(rows, time.monotonic() - waited, {"forward": 0.004})


def test_the_busy_rank_is_the_one_that_the_others_wait_for():
    found = found_on(board("waiting", "forward", "waiting", ago=(40, 50, 40)), 40)
    assert [int(row["rank"]) for row in found.rows] == [1]
    assert found.seconds == pytest.approx(40, abs=1)
    said = found.sentence("", "n1")
    assert said.startswith("rank 1 on n1 has been in 'forward' since ")
    assert "50 s, where it took 0.004 s at most before" in said


def test_only_what_this_rank_has_waited_counts():
    """Where all are slow, as on a host that swaps, nobody waits for long."""
    assert found_on(board("waiting", "forward", ago=(1, 500)), 1).seconds < 2


def test_a_branch_that_one_rank_took_alone():
    phases = ("waiting after saving", "waiting for the sum", "waiting for the sum")
    found = found_on(board(*phases, ago=(33, 31, 32)), 31)
    assert [int(row["rank"]) for row in found.rows] == [0]
    assert "in 'waiting after saving' since" in found.sentence("", "n1")
    assert "others in 'waiting for the sum'" in found.sentence("", "n1")


def test_of_two_ranks_that_went_different_ways_none_is_to_blame():
    found = found_on(board("waiting a", "waiting b", ago=(40, 40)), 40)
    assert not found.rows
    assert found.sentence("", "n1").startswith(
        "the ranks on n1 wait for each other in different phases"
    )


def test_ranks_that_all_wait_for_the_same_wait_for_another_host():
    assert found_on(board("waiting a", "waiting a", ago=(40, 40)), 40) is None


@pytest.mark.parametrize(
    ("phase", "limit"),
    [
        ("forward", 30.0),
        ("update", 120.0),
        # Done by rank 0 alone, or by a person's code: how long the others are in it says nothing.
        ("validation", math.inf),
        ("restoring", math.inf),
        ("saving", math.inf),
        # Not seen yet.
        ("backward", math.inf),
    ],
)
def test_the_limit_is_learnt_from_what_a_phase_took(phase, limit):
    longest = {"forward": 0.01, "update": 2.0, "validation": 2.0, "restoring": 0.01, "saving": 0.1}
    assert limit_of(phase, longest) == limit


def test_no_limit_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("DISTTRAIN_STOPPED_SECONDS", "0")
    assert limit_of("forward", {"forward": 0.01}) == math.inf
