"""The ranks of a job, or a group of them, as the rest of the program sees them."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np

from disttrain.comm.gathers.base import AllGather
from disttrain.comm.sums.base import Held, LeafSum, Sum
from disttrain.comm.watch import Watch
from disttrain.environment import blas_threads
from disttrain.errors import (
    DataError,
    DisttrainError,
    RankFailure,
    UsageError,
    exit_code_of,
    remember_failure,
    sentence_of,
)

__all__ = ["Communicator", "group_name"]

T = TypeVar("T")
# The exit codes of a user's mistakes: in the command or the run file, in data or a checkpoint.
MISTAKES = (UsageError.exit_code, DataError.exit_code)


class Communicator(ABC):
    """The ranks of a job, or of a group of it; a single rank is one of these too.

    All methods are collective (all ranks call them, in the same order), except `phase`, `dead`,
    `abort` and the properties. `share`, `collect` and `gather` send small Python objects; arrays
    are sent by `broadcast` and a `Sum`.

    `name` is empty for a whole job and "group 2" for the group of colour 2 ("group 2.1" for a group
    inside that one). `local_rank` counts the ranks of this communicator on this host, `host_rank`
    all ranks of the job there: it selects the GPU of a rank. `survives` where the others can go on
    without a rank that dies; `lost` has a sentence for each that did.
    """

    name: str = ""
    closed: bool = False
    survives: bool = False
    lost: Sequence[str] = ()
    inside: str = ""
    rank: int
    size: int
    local_rank: int
    local_size: int
    host_rank: int
    host_size: int
    host: str
    hosts: list[str]
    library: str
    watch: Watch

    @property
    def is_root(self) -> bool:
        """True on rank 0, which evaluates the schedule, saves and reports."""
        return self.rank == 0

    @property
    def spares(self) -> int:
        """The number of ranks that wait from `stand_down` on: the last ones."""
        return 0

    @property
    def workers(self) -> int:
        """The number of ranks that are no spares: those are the first ones."""
        return self.size - self.spares

    @property
    def blas_threads(self) -> int:
        """BLAS threads for this rank: the cores of a node are divided among its ranks."""
        return blas_threads()

    @property
    @abstractmethod
    def shared_room(self) -> float:
        """Bytes that `node_array` can still take on this node."""

    @abstractmethod
    def share(self, value: T | None = None, source: int = 0) -> T:
        """Return the `value` of rank `source` on every rank."""

    @abstractmethod
    def collect(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on every rank."""

    @abstractmethod
    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on rank 0; elsewhere nothing."""

    @abstractmethod
    def broadcast(self, array: np.ndarray[Any, Any], source: int = 0) -> None:
        """Overwrite `array` (host memory, contiguous) with that of rank `source`."""

    @abstractmethod
    def pass_on(self, out: np.ndarray[Any, Any], into: np.ndarray[Any, Any]) -> None:
        """Send `out` to the next rank and overwrite `into` with what the one before sends."""

    @abstractmethod
    def barrier(self) -> None:
        """Return when every rank has called it."""

    @abstractmethod
    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Return an array that all ranks of this node share, as long as one of them uses it.

        Its values are undefined. Raises UsageError on all ranks of the node where there is no room.
        """

    @abstractmethod
    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        """Return the sum over ranks of a message of `length` and a header, by the named way.

        "auto" takes the fastest: inside a node the shared window, else what a short measurement
        on the message itself shows.
        """

    @abstractmethod
    def leaf_summation(
        self, held: Held, width: int, length: int, dtype: Any, header: int
    ) -> LeafSum:
        """Return the sum over leaves in the order of their tree, for messages of `length`.

        `held(leaves)` are the subtrees that each rank brings for a batch of so many leaves, at most
        `width` a rank.
        """

    @abstractmethod
    def all_gather(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> AllGather:
        """Return arrays, filled with zeros, of which each rank writes some rows and reads all."""

    @abstractmethod
    def split(self, colour: int) -> Communicator:
        """Return the group of the ranks that gave the same `colour`, in the order of their ranks.

        A group has its own watch, windows and failures: an error of `together` or of a step is
        raised by the ranks of that group only. `close` it when it is done.
        """

    def leave(self) -> None:  # noqa: B027 - a rank alone waits for nobody
        """Wait for the others before this process ends, where MPI's own end could hang."""

    @abstractmethod
    def close(self) -> None:
        """Free the memory, the thread and the communicators that this one holds.

        Sums and arrays that were made by it can't be used any more.
        """

    @abstractmethod
    def abort(self, code: int) -> NoReturn:
        """End all ranks at once, from one of them, with `code`. Not collective."""

    def survive(self, work: Callable[[], T], mend: Callable[[list[str]], None] | None = None) -> T:
        """Return what `work` returns, on all ranks; collective.

        Where the MPI goes on without a rank that died, and one dies in it, the others become a
        smaller communicator (this object, with other numbers), call `mend` with a sentence for
        each lost rank, and do `work` again. It begins and ends on all ranks or on none, so one can
        be inside another, and mends what happens in it.
        """
        return work()

    def dead(self) -> dict[int, str]:
        """Return a sentence for each rank here that died, by its number; not collective.

        They count as ranks until `survive` goes on without them.
        """
        return {}

    def stand_down(self) -> None:  # noqa: B027 - most have no spares
        """Have the spares wait until a rank dies; the others become a smaller communicator.

        Inside of `survive`. On a spare it ends by an error: `survive` then calls `mend` with it
        among the ranks, or `Dismissed` says that the work is over.
        """

    def is_loss(self, error: BaseException) -> bool:
        """Return True for the error that says: a rank died, and the others can go on."""
        return False

    def phase(self, name: str) -> None:
        """Set what this rank does from now on: errors name it, the deadline counts from now."""
        self.watch.enter(name)

    @contextmanager
    def alone_in(self, what: str) -> Iterator[None]:
        """Run the body, code of a user's that rank 0 runs alone, and refuse collective calls in it.

        The other ranks would not take part, and rank 0 would wait until the deadline.
        """
        self.inside = what
        try:
            yield
        finally:
            self.inside = ""

    def refuse_inside(self) -> None:
        """Raise UsageError inside the body of `alone_in`."""
        if self.inside:
            raise UsageError(
                f"{self.inside} runs on rank 0 alone, so nothing collective (score, predict) can "
                "be called in it: for a number over all predictions of the validation rows, give "
                "train or build a function, metrics={'name': function(predictions, targets)}"
            )

    @contextmanager
    def together(self, phase: str, by_root: bool = False) -> Iterator[None]:
        """Run the body on every rank; raise on all ranks if it failed on any.

        The body holds no collective call: a rank that failed before it would leave the others
        waiting in it. Where ranks failed, each raises `RankFailure` with the lowest failed rank,
        `phase` and the cause. A rank alone raises an error meant for the user as it is; a rank
        that was left by KeyboardInterrupt, SystemExit or GeneratorExit raises that again.
        `by_root` says that rank 0 alone does something in the body: the sentence on a mistake of
        the user's is then the cause alone, as the rank says nothing about it.
        """
        self.refuse_inside()
        error: BaseException | None = None
        try:
            self.phase(phase)
            yield
        except BaseException as caught:
            error = caught
        self.settle(phase, error, by_root)

    def settle(self, phase: str, error: BaseException | None, by_root: bool = False) -> None:
        """Tell all ranks how `phase` went on this one; raise on all if it failed on any."""
        # KeyboardInterrupt and SystemExit keep their type for the code that handles them.
        is_exit = error is not None and not isinstance(error, Exception)
        if self.size == 1 and error is not None and (is_exit or isinstance(error, DisttrainError)):
            raise error
        self.phase(f"waiting after {phase}")
        failures = [o for o in self.collect(_outcome(self.rank, phase, error)) if o is not None]
        if failures:
            others = [other[0] for other in failures[1:]]
            known = not failures[0][4]
            common = known and len(failures) == self.size and len({f[2] for f in failures}) == 1
            mistake = by_root and known and failures[0][3] in MISTAKES
            failure = RankFailure(*failures[0], others, common or mistake, self.name)
            # An error for the user that is the same on all ranks keeps its type, as on one rank.
            if error is not None and (is_exit or common):
                remember_failure(error, failure)
                raise error
            raise failure from error
        self.phase(phase)


def group_name(above: str, colour: int) -> str:
    """Return the name of the group of `colour` in the communicator named `above`."""
    return f"{above}.{colour}" if above else f"group {colour}"


def _outcome(
    rank: int, phase: str, error: BaseException | None
) -> tuple[int, str, str, int, str] | None:
    """Return rank, phase, cause, exit code and, for an unexpected exception, the traceback."""
    if error is None:
        return None
    expected = isinstance(error, DisttrainError | SystemExit | KeyboardInterrupt)
    details = "" if expected else "".join(traceback.format_exception(error))
    return rank, phase, sentence_of(error), exit_code_of(error), details
