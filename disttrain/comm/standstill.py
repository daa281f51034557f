"""Ranks that stand still while others wait for them: found by how long a phase usually takes."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from disttrain import journal
from disttrain.stopped import bearable, catches

__all__ = [
    "GOING_ON",
    "NOT_BUSY",
    "TOLD",
    "WAITING",
    "Standstill",
    "clock",
    "limit_of",
    "standstill",
]

WAITING = "waiting"
# In this phase a rank waits for all others too, whatever they do.
GOING_ON = "going on without lost ranks"
NOT_BUSY = (WAITING, GOING_ON)
# A phase may take so many times as long as its longest time so far. A third of that is told.
TIMES, TOLD = 60.0, 3.0
# What all ranks do alike in each step: this rank's times say how long it takes on others too. For
# all else, as what rank 0 does alone, or a person's code, there is the deadline alone.
ALIKE = ("reading a batch", "forward", "backward", "gradients", "update")
# Seconds for a rank to print its stack.
PRINTS = 0.2


class Standstill(NamedTuple):
    """Ranks that others wait for in vain: their rows of the board, what they do, and how long.

    `seconds` count from where the last of both began: the phase, and this rank's waiting for it.
    Past `limit` the ranks are given up. Without `rows` nobody can say which of them is wrong.
    """

    rows: list[Any]
    what: str
    seconds: float
    limit: float

    def sentence(self, of: str, host: str) -> str:
        """Return which ranks it is, of which group and host, what they do and since when."""
        ranks = " and ".join(str(int(row["rank"])) for row in self.rows)
        if not ranks:
            return (
                f"the ranks{of} on {host} wait for each other in different phases: some are "
                f"in {self.what}"
            )
        return f"rank {ranks}{of} on {host} has been in {self.what}"

    def tell(self, sentence: str, board: np.ndarray[Any, Any]) -> None:
        """Say it, and have each rank of the board print its Python stack.

        A stopped process, or one that has no handler for it, can't be reached.
        """
        warn = partial(journal.note, "standstill", logging.WARNING)
        warn(text=f"{sentence}; after {self.limit:.0f} s it counts as lost")
        for row in board:
            rank, pid = int(row["rank"]), int(row["pid"])
            if not catches(pid, signal.SIGUSR2):
                continue
            phase = row["phase"].decode()
            warn(text=f"the stack of rank {rank} (process {pid}), in '{phase}', follows")
            with suppress(OSError):
                os.kill(pid, signal.SIGUSR2)
            time.sleep(PRINTS)


def limit_of(phase: str, longest: dict[str, float]) -> float:
    """Return the seconds for `phase`, where it has taken the `longest` before; infinity: no limit.

    At least `DISTTRAIN_STOPPED_SECONDS`.
    """
    if phase not in ALIKE or phase not in longest:
        return math.inf
    return max(bearable(), TIMES * longest[phase])


def standstill(
    board: np.ndarray[Any, Any], waiting_since: float, longest: dict[str, float]
) -> Standstill | None:
    """Return what holds up a rank that waits since then; None where all ranks wait for the same.

    `longest` are the times that phases have taken so far. Ranks that all wait, and not in the same
    phase, wait for each other: the fewer of them are wrong, as in a branch that one of them
    alone took.
    """
    now = time.monotonic()
    phases = [row["phase"].decode() for row in board]
    busy = [row for row, phase in zip(board, phases, strict=True) if not phase.startswith(WAITING)]
    if busy:
        row = min(busy, key=lambda one: float(one["since"]))
        phase = row["phase"].decode()
        since = float(row["since"])
        usual = f", where it took {longest[phase]:.3g} s at most before" if phase in longest else ""
        what = f"'{phase}' since {clock(since)}, {now - since:.0f} s{usual}"
        return Standstill([row], what, now - max(since, waiting_since), limit_of(phase, longest))
    (common, count), *others = Counter(phases).most_common()
    if not others:
        return None
    clear = 2 * count > len(board)
    odd = [row for row, phase in zip(board, phases, strict=True) if phase != common]
    since = max(waiting_since, *(float(row["since"]) for row in board))
    found = ", ".join(f"'{phase}'" for phase, _ in others)
    what = f"{found} since {clock(since)}, {now - since:.0f} s, and others in '{common}'"
    return Standstill(odd if clear else [], what, now - since, bearable())


def clock(since: float) -> str:
    """Return a moment of the monotonic clock as people read it."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() - time.monotonic() + since))
