"""Stragglers: which rank takes longer for its own work than the others, and what that costs."""

from __future__ import annotations

from statistics import median
from typing import Any

from disttrain import journal
from disttrain.comm import Communicator

__all__ = ["Pace", "lags"]

# What counts as a rank's own work in a step, by phase. All else is waiting, or is rank 0's alone.
KINDS = {"reading a batch": "reading", "forward": "computing", "backward": "computing",
         "update": "computing"}  # fmt: skip
# A rank is one from this part of the time on; and seconds below which a clock says nothing of it.
PART, LEAST = 0.2, 0.5
# Intervals in which it must have been one, each after the other, before people are told.
AGAIN = 2

Own = dict[str, float]


class Pace:
    """The seconds that each rank's own reading and computing took, from interval to interval."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._before = self._spent()
        # Of each rank: over all intervals, and since the last comparison.
        self._sums, self._recent = nothing(comm.size), nothing(comm.size)
        self._in_a_row: dict[int, int] = {}

    def _spent(self) -> Own:
        spent = self._comm.watch.spent
        return {kind: sum(spent[p] for p, k in KINDS.items() if k == kind)
                for kind in nothing(1)[0]}  # fmt: skip

    def close_interval(self) -> list[str]:
        """Compare the interval that ends; return a sentence for each straggler to tell. Collective.

        Short ones are compared together. Each rank is told once, where it was slow in some of them.
        """
        now = self._spent()
        own = {kind: now[kind] - self._before[kind] for kind in now}
        self._before = now
        found = self._comm.collect(own)
        for sums in (self._sums, self._recent):
            for total, part in zip(sums, found, strict=True):
                total.update({kind: total[kind] + part[kind] for kind in part})
        if max(sum(own.values()) for own in self._recent) < LEAST:
            return []
        slow, said = lags(self._recent), list[str]()
        self._recent = nothing(self._comm.size)
        self._in_a_row = {one["rank"]: self._in_a_row.get(one["rank"], 0) + 1 for one in slow}
        for one in slow:
            journal.note("straggler", printed=True, found=one)
            if self._in_a_row[one["rank"]] == AGAIN:
                said.append(
                    f"rank {one['rank']} is slower than the others: of {one['of_seconds']:.2f} "
                    "s it took "
                    f"{one['seconds']:.2f} s longer than they did, most of it {one['in']}"
                )
        return said

    def stragglers(self) -> list[dict[str, Any]]:
        """Return who was one over all intervals so far."""
        return lags(self._sums)


def nothing(ranks: int) -> list[Own]:
    """Return no seconds of any kind for each rank."""
    return [dict.fromkeys(KINDS.values(), 0.0) for _ in range(ranks)]


def lags(own: list[Own]) -> list[dict[str, Any]]:
    """Return the ranks whose own work took far longer than the median of the others.

    `own` are the seconds of each rank by kind. Each straggler has `rank`, `seconds` beyond that
    median, `of_seconds` (what the slowest rank took in all), and `in`: the kind with the most.
    """
    totals = [sum(one.values()) for one in own]
    whole, found = max(totals), []
    for rank, total in enumerate(totals if len(own) > 1 else ()):
        beyond = total - median(t for other, t in enumerate(totals) if other != rank)
        if whole >= LEAST and beyond > PART * whole:
            rest = [one for other, one in enumerate(own) if other != rank]
            kind = max(own[rank], key=lambda k: own[rank][k] - median(one[k] for one in rest))
            found.append({"rank": rank, "seconds": beyond, "of_seconds": whole, "in": kind})
    return found
