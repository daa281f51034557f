"""Spares: ranks that are idle until one of the others dies, and then take its place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from mpi4py import MPI

from disttrain.comm.ranks import Ranks
from disttrain.comm.topology import Topology
from disttrain.errors import Dismissed

__all__ = ["WithSpares"]

T = TypeVar("T")
# Seconds between two looks of a spare at whether it is needed.
PAUSE = 0.02
# The tag of the empty message that says: the work is over.
OVER = 1


class WithSpares(Ranks):
    """Ranks of which the last ones become spares at `stand_down`; the others work without them.

    All ranks are one communicator at first, and again after a death: then `mend` brings spares to
    the state of the others, like any rank that is behind, and calls `stand_down` again.
    """

    def __init__(self, comm: MPI.Comm, spares: int) -> None:
        self._wanted = comm.size - spares
        super().__init__(comm)
        # The ranks with the spares; `_topology` is that of the ones that work.
        self._everyone = self._topology
        # The communicator of those.
        self._part: MPI.Comm | None = None
        self._dismissed = False

    @property
    def spares(self) -> int:
        return max(0, self.size - self._wanted)

    def survive(self, work: Callable[[], T], mend: Callable[[list[str]], None] | None = None) -> T:
        try:
            return super().survive(work, mend)
        finally:
            if self._everyone is not self._topology:
                self._dismiss()

    def stand_down(self) -> None:
        if not self.spares:
            return
        part = None
        with contextlib.suppress(MPI.Exception):
            works = self.rank < self._wanted
            part = self._comm.Split(0 if works else MPI.UNDEFINED, self.rank)
        self._agreement.reach(self._comm, part is not None)
        assert part is not None
        if part == MPI.COMM_NULL:
            self._stand_by()
        self._part = part
        self._settle_on(Topology(part))
        self.watch.regroup(self.rank, self._board)
        self._threads = self._cores_each()

    def _stand_by(self) -> None:
        """Sleep until a rank dies, which raises MPI's error for it, or all is over: Dismissed."""
        self.phase("standing by")
        with self.watch.armed(0):
            while not self._is_over():
                time.sleep(PAUSE)
        self._dismissed = True
        if self._comm.Get_failed().size:
            self.lost.append("a rank died")
        raise Dismissed

    def _is_over(self) -> bool:
        """Return True where a rank that works says so, or none is left."""
        dead = 0
        for rank in range(self._wanted):
            if self._comm.Is_revoked():
                raise MPI.Exception(MPI.ERR_REVOKED)
            try:
                if self._comm.Iprobe(rank, OVER):
                    return True
            except MPI.Exception as error:
                if error.Get_error_class() == MPI.ERR_REVOKED:
                    raise
                dead += 1
        return dead == self._wanted

    def _dismiss(self) -> None:
        """Let the spares end; each rank says it, as any of them may die before."""
        comm = self._everyone.comm
        for rank in range(self._wanted, comm.size):
            with contextlib.suppress(MPI.Exception):
                comm.Send([b"", MPI.BYTE], rank, OVER)
        if comm.Get_failed().size and not self.lost:
            self.lost.append("a spare died")

    def _go_on_without(self) -> list[str]:
        """Become the communicator of all that are left; say which spares take whose place."""
        before = self.members
        if self._part is not None:
            made = [] if self._topology is self._everyone else self._topology.communicators
            self._agreement.fail([self._part, *made])
            self._topology, self._part = self._everyone, None
        lost = super()._go_on_without()
        self._everyone = self._topology
        fresh = [rank for rank, host in self.members[: self._wanted]
                 if (rank, host) not in before[: self._wanted]]  # fmt: skip
        gone = [before.index(member) for member in before if member not in self.members]
        for number, place in enumerate(gone):
            if place < self._wanted and fresh:
                lost[number] += f", spare rank {fresh.pop(0)} takes its place"
        return lost

    def leave(self) -> None:
        if not self._dismissed:
            super().leave()
