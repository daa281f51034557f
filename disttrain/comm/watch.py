"""Deadlines: a rank that stays in one phase for too long says so and ends, instead of hanging."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import numpy as np

from disttrain import journal
from disttrain.comm.standstill import NOT_BUSY, TOLD, WAITING, clock, standstill
from disttrain.comm.timeline import Timeline
from disttrain.environment import STATUS, leave_life, leave_status, withdraw_life
from disttrain.errors import LostRanks
from disttrain.stopped import bearable, is_gone, is_stopped

__all__ = ["BOARD", "Watch"]

# One row per rank of the node, in memory that they share: its process, its phase, since when it is
# in it, when its watch last looked, and when it last wrote the node's sign of life for the launch
# (all by the monotonic clock, which is the same for all processes of a node).
BOARD = np.dtype([("rank", "i8"), ("pid", "i8"), ("since", "f8"), ("alive", "f8"),
                  ("sign", "f8"), ("phase", "S64")])  # fmt: skip
# A waiting rank's deadline is longer: the rank that it waits for shall report first, with the
# cause, and the launcher shall end all ranks then (Open MPI 4 and MPICH take more than a second).
PATIENCE, LEAST = 1.25, 3.0
ENDS = "the run ends here, --resume goes on from the newest checkpoint"
# Seconds between a node's signs of life; and seconds between two looks of a watch after which this
# process must have been stopped meanwhile, alone or with the whole job by a scheduler.
SIGN, LATE = 5.0, 3.0
# Seconds in one phase after which a rank looks whether another one has been stopped.
WAITS = 2.0


class Watch:
    """The phase of this rank and its begin; `arm` starts the thread that enforces the deadline.

    `board` has a row per rank of the node in shared memory, or is None. For a group, `group` is its
    name and `above` the watch of the communicator that was split, whose phase changes too. A rank
    in a phase that starts with "waiting" looks on the board for the rank that it waits for, and its
    own deadline does not count while that one makes progress. After `seconds` in one phase the
    process prints one sentence that names the rank, the phase and since when, and exits with code
    5; the launcher then ends the others, or their own deadlines do.
    """

    def __init__(
        self, rank: int, host: str, board: np.ndarray[Any, Any] | None = None, group: str = "",
        above: Watch | None = None,
    ) -> None:  # fmt: skip
        self._rank, self._host, self._above = rank, host, above
        self._of = f" of {group}" if group else ""
        self._board = np.zeros(1, BOARD) if board is None else board
        rows = np.flatnonzero(self._board["rank"] == rank)
        self._row = self._board[rows[0] : rows[0] + 1] if len(rows) else self._board[:1]
        self._row["pid"] = os.getpid()
        self._row_phase, self._row_since = self._row["phase"], self._row["since"]
        self._seconds = 0.0
        # Beginnings of the phases in which there was a warning, this was told, was acted on.
        self._warned, self._told, self._acted = 0.0, 0.0, 0.0
        # Row of the board → when that rank was first seen as stopped by a signal.
        self._stopped: dict[int, float] = {}
        self._phase, self._since = "starting", time.monotonic()
        # Phase → all seconds in it, its longest time.
        self.spent: dict[str, float] = defaultdict(float)
        self._longest: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        # Called with each phase that begins; for faults that are injected.
        self.entered: Callable[[str], None] | None = None
        # Of `train --trace`.
        self.timeline: Timeline | None = None
        # Whether the others go on where this process ends; whether they do other work meanwhile.
        self.survives = self.apart = False
        self.enter("starting")

    @property
    def current(self) -> str:
        """The phase that this rank is in."""
        return self._phase

    def enter(self, phase: str) -> None:
        """Set the phase that this rank is in from now on."""
        now = time.monotonic()
        took = now - self._since
        self.spent[self._phase] += took
        if took > self._longest.get(self._phase, 0.0):
            self._longest[self._phase] = took
        if took > journal.SLOW:
            journal.note("slow phase", phase=self._phase, seconds=round(took, 3))
        self._phase, self._since = phase, now
        # Views of their fields: a field of a row takes many times as long to reach.
        self._row_since[0] = now
        self._row_phase[0] = phase.encode("ascii", "replace")[:64]
        if self._above is not None:
            self._above.enter(phase)
        if self.timeline is not None:
            self.timeline.enter(phase)
        if self.entered is not None:
            self.entered(phase)

    def arm(self, seconds: float) -> None:
        """Enforce a deadline of `seconds` for every phase from now on; 0: none."""
        self.enter(self._phase)
        self._seconds = seconds
        if seconds and self._thread is None:
            self._thread = threading.Thread(target=self._look, name="deadline", daemon=True)
            self._thread.start()
            if STATUS in os.environ:
                # No signs after the end, even where the process then waits for others in MPI.
                atexit.register(withdraw_life, self._host)

    def regroup(self, rank: int, board: np.ndarray[Any, Any]) -> None:
        """Go on with another number and the board of the ranks that are left."""
        self._stopped.clear()
        self.apart = False
        place = int(np.flatnonzero(board["rank"] == rank)[0])
        row = board[place : place + 1]
        self._rank, self._row, self._board = rank, row, board
        self._row_phase, self._row_since = row["phase"], row["since"]
        self.enter(self._phase)

    @contextmanager
    def armed(self, seconds: float) -> Iterator[float]:
        """Enforce a deadline of `seconds` in the body, then again that of before, its value."""
        before = self._seconds
        self.arm(seconds)
        try:
            yield before
        finally:
            self.arm(before)

    def close(self) -> None:
        """End the thread, and do not use the shared board any more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._board = self._row = self._row.copy()
        self._row_phase, self._row_since = self._row["phase"], self._row["since"]

    def _look(self) -> None:
        while True:
            before = time.monotonic()
            self._show_life(before)
            if self._closed.wait(min(1.0, self._seconds / 10 or 1.0)):
                return
            self._leave_out(before, time.monotonic())
            self._warn_when_near()
            if self._seconds:
                self._act(*(self._of_stopped() or self._of_standstill() or self._of_late()))

    def _leave_out(self, before: float, now: float) -> None:
        """Restart the count where so long passed since `before` that this process was stopped."""
        if now - before > LATE:
            self._since = now
            self._row["since"] = now
            self._stopped.clear()

    def _show_life(self, now: float) -> None:
        """Write on the board that this rank lives, and every `SIGN` seconds a sign for the launch.

        Any rank of the node writes that one: another may be in a library that blocks its threads.
        """
        self._row["alive"] = now
        if now - self._board["sign"].max() >= SIGN:
            self._row["sign"] = now
            leave_life(self._host)

    def _act(self, sentence: str = "", pids: Sequence[int] = ()) -> None:
        """Kill these processes, where the others can go on without them; else end this one."""
        if sentence and not (self.survives and 0 < len(pids) < len(self._board)):
            self._end(f"{sentence}; {ENDS}")
        if not sentence:
            return
        journal.note("rank given up", logging.ERROR, text=sentence, phase=self._phase)
        print(f"disttrain: {sentence}; the others go on without it", file=sys.stderr, flush=True)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _end(self, sentence: str) -> NoReturn:
        """Print why this process ends, and end it with code 5."""
        journal.note("deadline passed", logging.ERROR, text=sentence, phase=self._phase)
        print(f"disttrain: {sentence}", file=sys.stderr, flush=True)
        # mpirun itself may not end where a host has gone, and MPICH's mpiexec gives the
        # status of a rank that it killed: the supervisor looks here.
        leave_status(LostRanks.exit_code)
        os._exit(LostRanks.exit_code)

    def _warn_when_near(self) -> None:
        """Write down, once a phase, that half of the time until the deadline has gone."""
        since, phase = self._since, self._phase
        elapsed = time.monotonic() - since
        if self._seconds and elapsed > self._seconds / 2 and self._warned != since:
            self._warned = since
            # A warning is printed: only by the busy rank, not by all that wait for it.
            level = logging.INFO if phase.startswith(WAITING) else logging.WARNING
            journal.note("deadline near", level, phase=phase, seconds=round(elapsed, 1),
                         deadline=self._seconds)  # fmt: skip

    def _of_standstill(self) -> tuple[str, list[int]] | tuple[()]:
        """Name the ranks that this one has waited for far longer than usual, and their processes.

        The lowest rank that waits tells it, with all stacks, at a third of the limit; and acts.
        """
        since, found = self._since, None
        # `_of_stopped` reports a stopped rank, with the reason.
        waits = self._phase.startswith(WAITING) and not self.apart
        if waits and not self._stopped and self._acted != since:
            found = standstill(self._board, since, self._longest)
        if found is None:
            return ()
        sentence = f"{found.sentence(self._of, self._host)}; rank {self._rank} waits for it"
        if found.seconds > found.limit / TOLD and self._told != since and not self._before(WAITING):
            self._told = since
            found.tell(sentence, self._board)
        # Each next rank only after `LEAST` seconds more.
        if found.seconds <= found.limit + LEAST * self._before(WAITING):
            return ()
        self._acted = since
        return sentence, [int(row["pid"]) for row in found.rows]

    def _is_late(self) -> bool:
        now, waits, limit = time.monotonic(), self._phase.startswith(NOT_BUSY), self._seconds
        if waits:
            limit = max(PATIENCE * limit, limit + LEAST)
        # Groups, also those on other hosts, look after their own ranks.
        if self.apart or now - self._since <= limit:
            return False
        # Where no rank changes its phase any more, none makes progress.
        return not (waits and any(now - row["since"] <= self._seconds for row in self._living()))

    def _living(self) -> list[Any]:
        return [row for row in self._board if not is_gone(int(row["pid"]))]

    def _busy(self) -> list[Any]:
        """Return the rows of the node's ranks that are in no phase of waiting."""
        return [row for row in self._living() if not row["phase"].decode().startswith(NOT_BUSY)]

    def _of_stopped(self) -> tuple[str, list[int]] | tuple[()]:
        """Name a rank of this node that has been stopped by a signal for too long, if any.

        Only a rank that has been in one phase for a while looks: it may wait for the stopped one.
        """
        now, limit = time.monotonic(), min(bearable(), self._seconds)
        if now - self._since < WAITS:
            self._stopped.clear()
            return ()
        for place, row in enumerate(self._board):
            if not is_stopped(int(row["pid"])):
                self._stopped.pop(place, None)
            # The first rank reports it; each next one only after `LEAST` seconds more.
            elif now - self._stopped.setdefault(place, now) > limit + LEAST * self._before():
                rank, pid, phase = int(row["rank"]), int(row["pid"]), row["phase"].decode()
                sentence = (
                    f"rank {rank}{self._of} on {self._host} was stopped by a signal "
                    f"(process {pid}) in '{phase}', {now - self._stopped[place]:.0f} s ago, and "
                    "it was not continued"
                )
                return sentence, [pid]
        return ()

    def _before(self, phase: str = "") -> int:
        """Return how many lower ranks of the node, in such a phase, can report what is wrong."""
        mine = int(self._row["rank"][0])
        return sum(
            int(row["rank"]) < mine
            and place not in self._stopped
            and row["phase"].startswith(phase.encode())
            for place, row in enumerate(self._board)
        )

    def _frozen(self) -> list[Any]:
        """Return the rows of ranks whose watch does not look any more: the process is stopped."""
        late = time.monotonic() - max(self._seconds / 2, 1.0)
        return [row for row in self._board if 0 < row["alive"] < late]

    def _of_late(self) -> tuple[str, list[int]] | tuple[()]:
        """Name the rank that is past the deadline, its phase and since when, if any."""
        # `_of_stopped` reports a stopped rank, with the reason.
        if self._stopped or not self._is_late():
            return ()
        rank, phase, since, late = self._rank, self._phase, self._since, ""
        pids = [os.getpid()] if len(self._busy()) < len(self._board) else []
        if phase.startswith(NOT_BUSY) and (busy := self._busy() or self._frozen()):
            rank, phase, since = int(busy[0]["rank"]), busy[0]["phase"].decode(), busy[0]["since"]
            late, pids = f" (rank {self._rank} waited for it)", [int(busy[0]["pid"])]
        sentence = (
            f"rank {rank}{self._of} on {self._host} has been in '{phase}' since {clock(since)}, "
            f"{time.monotonic() - since:.0f} s, past the deadline of {self._seconds:g} s{late}"
        )
        return sentence, pids
