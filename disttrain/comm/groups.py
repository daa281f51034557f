"""Work in several groups of ranks at once: the failure of one group does not end the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from disttrain.comm.communicator import Communicator
from disttrain.errors import exit_code_of, raised_everywhere, sentence_of

__all__ = ["Outcome", "in_groups"]

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How one group ended: what its rank 0 returned, or the failure that all of its ranks raised.

    `ranks` are those of the communicator that was split. `failure` is a sentence, empty where the
    group did not fail; `exit_code` is the one of its kind, else 0.
    """

    colour: int
    ranks: tuple[int, ...]
    value: T | None
    failure: str = ""
    exit_code: int = 0


def in_groups(
    comm: Communicator, colour: int, work: Callable[[Communicator], T]
) -> list[Outcome[T]]:
    """Call `work(group)` with the group of this rank's `colour`; return the outcome of each group.

    Collective over `comm`; the list is the same on all ranks, in the order of colours. A failure
    that all ranks of a group raise (`RankFailure`, `Divergence`, `Preempted`, ...; of one rank
    alone, any error) ends that group's work, not the others'. An exception that one rank of a group
    raises alone goes on, since the others of its group wait for it: uncaught, it ends the job.
    KeyboardInterrupt and SystemExit end the work of all groups.

    Where the MPI goes on without a rank that died, the others of its group become a smaller one and
    do their work again; the other groups are not disturbed. At their end `comm` has lost a rank:
    call this inside of `comm.survive`. The deadline that is armed in `comm` holds in the groups.
    """
    group = comm.split(colour)
    value, error, exits = None, None, None
    try:
        # The watch of the group looks after its ranks: there a phase takes as long on all of them.
        with comm.watch.armed(0) as seconds, group.watch.armed(seconds):
            value = group.survive(lambda: work(group))
    except BaseException as caught:
        if group.size > 1 and not raised_everywhere(caught):
            raise
        error, exits = caught, None if isinstance(caught, Exception) else caught
    comm.watch.apart = True
    try:
        comm.settle(f"the work of {group.name}", exits)
        comm.phase("waiting for the other groups")
        failed = (sentence_of(error), exit_code_of(error)) if error else ("", 0)
        ends = comm.collect((colour, value if group.is_root else None, failed))
        comm.watch.apart = False
    except BaseException as caught:
        # After a loss too the others may work on for long before all meet.
        comm.watch.apart = comm.is_loss(caught)
        raise
    finally:
        group.watch.close()
    group.close()
    return [_outcome(colour, ends) for colour in sorted({end[0] for end in ends})]


def _outcome(colour: int, ends: list[tuple[int, T | None, tuple[str, int]]]) -> Outcome[T]:
    ranks = tuple(rank for rank, end in enumerate(ends) if end[0] == colour)
    _, value, failed = ends[ranks[0]]
    return Outcome(colour, ranks, value, *failed)
