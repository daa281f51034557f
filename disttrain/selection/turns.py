"""Jobs that groups of ranks take in turn: a group that is done takes the next one.

Which group does a job, and when, depends on the ranks and on the clock; the results come back in
the order of the jobs' numbers. A file counts the jobs that were taken, and a group that has ended
one leaves a file for rank 0, so that it can say so while others go on. Where a rank dies, what is
left of its group does the job again, and a job whose ranks all died is left to other groups.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from disttrain import journal
from disttrain.checkpoint import write_atomically
from disttrain.comm import Communicator
from disttrain.comm.groups import Outcome, in_groups
from disttrain.disk import make_directory
from disttrain.errors import (
    CheckpointError,
    DataError,
    DisttrainError,
    Divergence,
    Preempted,
    RankFailure,
    exit_code_of,
    raised_everywhere,
    sentence_of,
)

__all__ = ["Ended", "Turns", "all_failed"]

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

    @property
    def status(self) -> str:
        """How it ended, in a word."""
        if self.value is not None:
            return "completed"
        return "diverged" if self.exit_code == Divergence.exit_code else "failed"


def all_failed(sentence: str, what: str, ended: Mapping[int, tuple[str, str]]) -> DisttrainError:
    """Return the error of jobs of which none is of use: Divergence if all have diverged.

    `ended` has the status and the failure of each by its number; the text tells the first failure.
    """
    first = next((f"; {what} {n}: {ended[n][1]}" for n in sorted(ended) if ended[n][1]), "")
    diverged = all(status == "diverged" for status, _ in ended.values())
    return (Divergence if diverged else DisttrainError)(sentence + first)


Work = Callable[[Communicator, int], dict[str, Any]]


@dataclass
class Round:
    """The jobs of one call of `take`, and how far this rank's groups are with them.

    It outlives the loss of ranks. `numbers` are those left when the groups were made last.
    """

    key: Hashable = None
    numbers: Sequence[int] = ()
    ended: dict[int, Ended] = field(default_factory=dict)
    under_way: int | None = None
    told: set[int] = field(default_factory=set)


class Turns:
    """Lets groups of the ranks of `comm` take jobs in turn; its files are in `folder/.turns`.

    `take` and `mend` are for the body of a `comm.survive`: where a rank died, `take` is called
    again with the same `key`. `name` says what a job is called, for what is told of lost ranks.
    """

    def __init__(
        self, comm: Communicator, folder: Path, name: Callable[[int], str] = "job {}".format
    ) -> None:
        self._comm, self._folder, self._name = comm, folder / ".turns", name
        self._counter = self._folder / "taken"
        self._tell: Callable[[Ended], None] = lambda ended: None
        self._round, self._lost = Round(), set[str]()

    def take(
        self, numbers: Sequence[int], work: Work, *, ranks_each: int = 1, most: int = 0,
        key: Hashable = (), tell: Callable[[Ended], None] | None = None,
    ) -> list[Ended]:  # fmt: skip
        """Call `work(group, number)` once for each of `numbers`; return how each ended, in order.

        Collective; the list is the same on all ranks. Each group has `ranks_each` ranks, or all
        where there are fewer; the ranks left over do nothing. With `most`, for work whose result
        does not depend on its ranks, they join the groups, up to so many each; where there are
        fewer jobs than groups the groups are larger too.

        `tell(ended)` is called on rank 0, once for each job and in the order in which they end: as
        soon as rank 0 learns of it, between its own jobs or by `listen`.

        A job that fails (`Divergence`, any exception on a group of one rank, one that all ranks of
        a group raise) is an `Ended` with a `failure`, and the others go on. A request to stop, and
        data or checkpoints that can't be read or written, end all: `Preempted` or `RankFailure`.
        """
        if not numbers:
            return []
        comm, self._tell = self._comm, tell or self._tell
        before = self._before(key, numbers)
        left = [number for number in numbers if number not in before]
        groups = min(max(1, comm.size // ranks_each), max(1, len(left)))
        each = min(ranks_each, comm.size)
        colour, taking = comm.rank // each, min(comm.size, groups * max(most, each))
        if most and comm.rank < taking:
            colour = comm.rank * groups // taking
        with comm.together("dividing the ranks into groups"):
            if comm.is_root:
                self._tell_each(before)
                self._tell_of(comm.lost)
                self._tell_of_left(left)
                make_directory(self._folder)
                write_atomically(self._counter, b"0")
        self._round.numbers, self._round.under_way = left, None
        outcomes = in_groups(comm, colour, partial(self._of_group, work, colour < groups))
        for outcome in outcomes:
            # A group also returns what a lost rank 0 has told already.
            before |= {n: ended for n, ended in (outcome.value or {}).items() if n in left}
        if comm.is_root:
            self._tell_each(before)
            shutil.rmtree(self._folder, ignore_errors=True)
        _raise_common(outcomes)
        return [before[number] for number in sorted(before)]

    def _before(self, key: Hashable, numbers: Sequence[int]) -> dict[int, Ended]:
        """Return how jobs of this round ended before a rank was lost, as all ranks know it."""
        if key != self._round.key:
            self._round = Round(key)
        for ended in self._comm.collect(self._round.ended):
            self._round.ended |= ended
        return {n: self._round.ended[n] for n in numbers if n in self._round.ended}

    def listen(self) -> None:
        """Tell what other groups have ended since, and which ranks have died (rank 0)."""
        for path in sorted(self._folder.glob("ended-*.json")):
            ended = Ended(**json.loads(path.read_bytes()))
            self._tell_each({ended.number: ended})
            path.unlink(missing_ok=True)
        self._tell_of(self._comm.dead().values())

    def mend(self, lost: list[str]) -> None:
        """Say which ranks the others go on without."""
        journal.note("recovered", lost=lost, ranks=self._comm.size)
        self._tell_of(lost)

    def _tell_of(self, lost: Iterable[str]) -> None:
        for line in lost:
            if self._comm.is_root and line not in self._lost:
                journal.note("lost", logging.WARNING, text=f"{line}; the others go on without it")
            self._lost.add(line)

    def _tell_of_left(self, left: Sequence[int]) -> None:
        """Say which jobs the ranks that died have left to others."""
        with suppress(OSError, ValueError):
            for number in self._round.numbers[: int(self._counter.read_bytes())]:
                if number in left:
                    line = f"{self._name(number)} lost its ranks: other ranks continue with it"
                    journal.note("lost", logging.WARNING, text=line)

    def _tell_each(self, ended: dict[int, Ended]) -> None:
        """Tell how these jobs ended, each once."""
        for number in sorted(ended):
            if number not in self._round.told:
                self._round.told.add(number)
                self._tell(ended[number])

    def _of_group(self, work: Work, takes: bool, group: Communicator) -> dict[int, Ended]:
        """Take jobs until there are none; return how those of this group ended.

        After the loss of a rank of the group it goes on with what was under way.
        """
        mine = self._round
        for done, under_way in group.collect((mine.ended, mine.under_way)):
            mine.ended |= done
            mine.under_way = mine.under_way if mine.under_way is not None else under_way
        if mine.under_way in mine.ended:
            mine.under_way = None
        while takes and (number := self._next_of(group)) is not None:
            mine.under_way = number
            ended = self._one(group, number, work)
            mine.ended[number], mine.under_way = ended, None
            with group.together("reporting a job"):
                if self._comm.is_root:
                    self._tell_each({number: ended})
                    self.listen()
                elif group.is_root:
                    path = self._folder / f"ended-{number:06d}.json"
                    write_atomically(path, json.dumps(asdict(ended)).encode())
        return mine.ended

    def _next_of(self, group: Communicator) -> int | None:
        """Return the job that the group is to do next, None where there is none."""
        if self._round.under_way is not None:
            return self._round.under_way
        place = 0
        with group.together("taking the next job"):
            # Without rank 0 nothing is told: then all meet at once, not when all is done.
            if group.is_root:
                place = STOP if 0 in self._comm.dead() else self._next()
        place = group.share(place)
        return self._round.numbers[place] if place < len(self._round.numbers) else None

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


def _raise_common(outcomes: Sequence[Outcome[dict[int, Ended]]]) -> None:
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
