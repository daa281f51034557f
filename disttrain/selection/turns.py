"""Jobs that groups of ranks take in turn: a group that is done takes the next one.

Which group does a job, and when, depends on the ranks and on the clock; the results come back in
the order of the jobs' numbers. A file counts the jobs that were taken, and a group that has ended
one leaves a file for rank 0, so that it can say so while others go on.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from disttrain.checkpoint import write_atomically
from disttrain.comm import Communicator
from disttrain.comm.groups import Outcome, in_groups
from disttrain.disk import make_directory
from disttrain.errors import (
    CheckpointError,
    DataError,
    Preempted,
    RankFailure,
    exit_code_of,
    raised_everywhere,
    sentence_of,
)

__all__ = ["Ended", "Turns"]

# What the counter says when no more jobs are to be taken.
STOP = 10**12
# Not the fault of a job: the disk is full, a file is gone, the ranks are asked to stop.
COMMON = (DataError.exit_code, CheckpointError.exit_code, Preempted.exit_code)


@dataclass(frozen=True)
class Ended:
    """How a job ended: with a `value` (JSON), or with the sentence and exit code of its failure.

    `seconds` is the time that its group took.
    """

    number: int
    value: dict[str, Any] | None
    seconds: float
    failure: str = ""
    exit_code: int = 0


Work = Callable[[Communicator, int], dict[str, Any]]


class Turns:
    """Lets groups of the ranks of `comm` take jobs in turn; its files are in `folder/.turns`.

    `tell(ended)` is called on rank 0, once for each job and in the order in which they end: as soon
    as rank 0 learns of it, between its own jobs or by `listen`.
    """

    def __init__(
        self, comm: Communicator, folder: Path, tell: Callable[[Ended], None] | None = None
    ) -> None:
        self._comm, self._folder = comm, folder / ".turns"
        self._counter = self._folder / "taken"
        self._tell = tell or (lambda ended: None)
        self._told: set[int] = set()

    def take(
        self, numbers: Sequence[int], work: Work, *, ranks_each: int = 1, most: int = 0
    ) -> list[Ended]:
        """Call `work(group, number)` once for each of `numbers`; return how each ended, in order.

        Collective; the list is the same on all ranks. Each group has `ranks_each` ranks, or all
        where there are fewer; the ranks left over do nothing. With `most`, for work whose result
        does not depend on its ranks, they join the groups, up to so many each; where there are
        fewer jobs than groups the groups are larger too.

        A job that fails (`Divergence`, any exception on a group of one rank, one that all ranks of
        a group raise) is an `Ended` with a `failure`, and the others go on. A request to stop, and
        data or checkpoints that can't be read or written, end all: `Preempted` or `RankFailure`.
        """
        comm, self._told = self._comm, set()
        groups = min(max(1, comm.size // ranks_each), max(1, len(numbers)))
        each = min(ranks_each, comm.size)
        colour, taking = comm.rank // each, min(comm.size, groups * max(most, each))
        if most and comm.rank < taking:
            colour = comm.rank * groups // taking
        with comm.together("dividing the ranks into groups"):
            if comm.is_root:
                make_directory(self._folder)
                write_atomically(self._counter, b"0")
        outcomes = in_groups(
            comm, colour, lambda group: self._of_group(group, numbers, work, colour < groups)
        )
        ended = sorted((e for o in outcomes for e in o.value or ()), key=lambda e: e.number)
        if comm.is_root:
            for one in ended:
                self._tell_once(one)
            shutil.rmtree(self._folder, ignore_errors=True)
        _raise_common(outcomes)
        return ended

    def listen(self) -> None:
        """Tell what other groups have ended since (rank 0)."""
        for path in sorted(self._folder.glob("ended-*.json")):
            self._tell_once(Ended(**json.loads(path.read_bytes())))
            path.unlink(missing_ok=True)

    def _tell_once(self, ended: Ended) -> None:
        if ended.number not in self._told:
            self._told.add(ended.number)
            self._tell(ended)

    def _of_group(
        self, group: Communicator, numbers: Sequence[int], work: Work, takes: bool
    ) -> list[Ended]:
        """Take jobs until there are none; return how those of this group ended."""
        done: list[Ended] = []
        while takes:
            place = 0
            with group.together("taking the next job"):
                if group.is_root:
                    place = self._next()
            place = group.share(place)
            if place >= len(numbers):
                break
            done.append(self._one(group, numbers[place], work))
            with group.together("reporting a job"):
                if self._comm.is_root:
                    self._tell_once(done[-1])
                    self.listen()
                elif group.is_root:
                    path = self._folder / f"ended-{done[-1].number:06d}.json"
                    write_atomically(path, json.dumps(asdict(done[-1])).encode())
        return done

    def _one(self, group: Communicator, number: int, work: Work) -> Ended:
        begin = time.perf_counter()
        try:
            value = work(group, number)
        except BaseException as error:
            code = exit_code_of(error)
            if code in COMMON and group.is_root:
                write_atomically(self._counter, str(STOP).encode())
            alone = group.size > 1 and not raised_everywhere(error)
            if alone or code in COMMON or not isinstance(error, Exception):
                raise
            return Ended(number, None, time.perf_counter() - begin, sentence_of(error), code)
        return Ended(number, value, time.perf_counter() - begin)

    def _next(self) -> int:
        """Return how many jobs were taken before, and count one more."""
        with open(self._counter, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            taken = int(file.read())
            file.seek(0)
            file.write(str(taken + 1).encode())
        return taken


def _raise_common(outcomes: Sequence[Outcome[list[Ended]]]) -> None:
    """Raise, on all ranks, what ended the work of a group and was no failure of a job."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        if outcome.exit_code != Preempted.exit_code:
            raise RankFailure(
                outcome.ranks[0], "its group's work", outcome.failure, outcome.exit_code,
                common=True,
            )  # fmt: skip
    if failed:
        raise Preempted(failed[0].failure)
