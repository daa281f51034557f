"""Deadlines: a rank that stays in one phase for too long says so and ends, instead of hanging."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from disttrain.environment import leave_status
from disttrain.errors import LostRanks

__all__ = ["BOARD", "Watch"]

# One row per rank of the node, in memory that they share: what it is doing, since when, and when
# its watch last looked (monotonic clock, which all processes of a node share and nobody sets).
BOARD = np.dtype([("rank", "i8"), ("since", "f8"), ("alive", "f8"), ("phase", "S64")])
# A waiting rank gives the one that it waits for time to speak first: that one knows why.
PATIENCE = 1.25
WAITING = "waiting"


class Watch:
    """What this rank is doing and since when; `arm` starts the thread that enforces the deadline.

    `board` is a row per rank of the node in shared memory, or None. A rank in a phase that starts
    with "waiting" looks there for the rank that it waits for, and has patience with one that makes
    progress. After `seconds` in one phase the process prints one sentence that names the rank, the
    phase and since when, and exits with code 5; the launcher then ends the others, or their own
    deadlines do.
    """

    def __init__(self, rank: int, host: str, board: np.ndarray[Any, Any] | None = None) -> None:
        self._rank, self._host = rank, host
        self._board = np.zeros(1, BOARD) if board is None else board
        rows = np.flatnonzero(self._board["rank"] == rank)
        self._row = self._board[rows[0] : rows[0] + 1] if len(rows) else self._board[:1]
        self._seconds = 0.0
        self._thread: threading.Thread | None = None
        self.enter("starting")

    @property
    def current(self) -> str:
        """The phase that this rank is in."""
        return self._phase

    def enter(self, phase: str) -> None:
        """Say that this rank does `phase` from now on."""
        self._phase, self._since = phase, time.monotonic()
        self._row["phase"] = phase.encode()[:64]
        self._row["since"] = self._since

    def arm(self, seconds: float) -> None:
        """Enforce a deadline of `seconds` for every phase from now on; 0 lifts it."""
        self.enter(self._phase)
        self._seconds = seconds
        if seconds and self._thread is None:
            self._thread = threading.Thread(target=self._look, name="deadline", daemon=True)
            self._thread.start()

    @contextmanager
    def armed(self, seconds: float) -> Iterator[None]:
        """Enforce a deadline of `seconds` inside the body, and afterwards what was before."""
        before = self._seconds
        self.arm(seconds)
        try:
            yield
        finally:
            self.arm(before)

    def _look(self) -> None:
        while True:
            self._row["alive"] = time.monotonic()
            time.sleep(min(1.0, self._seconds / 10 or 1.0))
            if self._seconds and self._is_late():
                print(f"disttrain: {self._sentence()}", file=sys.stderr, flush=True)
                # mpirun itself may not end where a host has gone: the supervisor looks for this.
                leave_status(LostRanks.exit_code)
                os._exit(LostRanks.exit_code)

    def _is_late(self) -> bool:
        now, waits = time.monotonic(), self._phase.startswith(WAITING)
        limit = self._seconds * (PATIENCE if waits else 1.0)
        if now - self._since <= limit:
            return False
        return not (waits and any(now - row["since"] <= self._seconds for row in self._busy()))

    def _busy(self) -> list[Any]:
        """Return the rows of the node's ranks that do something, so that others wait for them."""
        return [row for row in self._board if not row["phase"].startswith(WAITING.encode())]

    def _frozen(self) -> list[Any]:
        """Return the rows of ranks whose own watch has stopped: they were stopped as a whole."""
        late = time.monotonic() - max(self._seconds / 2, 1.0)
        return [row for row in self._board if 0 < row["alive"] < late]

    def _sentence(self) -> str:
        """Name the rank that is stuck, its phase and since when."""
        rank, phase, since, late = self._rank, self._phase, self._since, ""
        if phase.startswith(WAITING) and (busy := self._busy() or self._frozen()):
            rank, phase, since = int(busy[0]["rank"]), busy[0]["phase"].decode(), busy[0]["since"]
            late = f" (rank {self._rank} waited for it)"
        elapsed = time.monotonic() - since
        clock = time.strftime("%H:%M:%S", time.localtime(time.time() - elapsed))
        return (
            f"rank {rank} on {self._host} has been in '{phase}' since {clock}, "
            f"{elapsed:.0f} s, past the deadline of {self._seconds:g} s{late}; "
            "the run ends here, --resume goes on from the newest checkpoint"
        )
