"""The communicator over MPI."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

import mpi4py

from disttrain.comm.tuning import tune

# Only the main thread calls MPI; a lower thread level saves its locks.
mpi4py.rc.thread_level = "funneled"
tune()

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

from disttrain.comm import failures  # noqa: E402
from disttrain.comm.communicator import Communicator, group_name  # noqa: E402
from disttrain.comm.gathers.base import AllGather  # noqa: E402
from disttrain.comm.gathers.ways import all_gather  # noqa: E402
from disttrain.comm.standstill import GOING_ON  # noqa: E402
from disttrain.comm.sums.base import Held, LeafSum, Sum  # noqa: E402
from disttrain.comm.sums.choose import summation  # noqa: E402
from disttrain.comm.sums.leaves import leaf_summation  # noqa: E402
from disttrain.comm.topology import Topology  # noqa: E402
from disttrain.comm.watch import BOARD, Watch  # noqa: E402
from disttrain.environment import cores, leave_status  # noqa: E402
from disttrain.errors import UsageError, raised_everywhere  # noqa: E402

__all__ = ["Ranks", "connected_to", "library", "world", "world_size"]

T = TypeVar("T")
# Bytes of one broadcast: a larger count does not fit MPI-3's int.
LARGEST = 1 << 30


def world() -> MPI.Comm:
    """Return the communicator of all ranks that were started together."""
    return MPI.COMM_WORLD


def world_size() -> int:
    """Return how many ranks MPI itself counts."""
    return int(MPI.COMM_WORLD.size)


def library() -> str:
    """Return the first line of the MPI library's own name and version."""
    return MPI.Get_library_version().splitlines()[0].split(",")[0].strip("\0 ")


# Where an mpi4py communicator keeps what `connected_to` made of it.
OURS = MPI.Comm.Create_keyval()


def connected_to(comm: Any) -> Ranks:
    """Return the ranks of an mpi4py communicator, the same object at every call until `close`.

    Collective over `comm`, which stays the caller's and is used for nothing else.
    """
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise UsageError(
            f"comm={comm!r} is not a communicator for a training: give an intracommunicator "
            "of mpi4py, as MPI.COMM_WORLD, or what disttrain.connect() returned"
        )
    found = comm.Get_attr(OURS)
    if not isinstance(found, Ranks) or found.closed:
        found = Ranks(comm)
        comm.Set_attr(OURS, found)
    return found


class Ranks(Communicator):
    """The ranks of an mpi4py communicator, on a duplicate of it: messages never mix.

    Collective over `comm`. `above` and `name` are those of a group. `node` are the ranks that share
    memory with this one; where it is not given, those on the same host.
    """

    def __init__(
        self, comm: MPI.Comm, *, node: MPI.Comm | None = None, above: Ranks | None = None,
        name: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self.library = library()
        self.host = socket.gethostname()
        self._above, self._sections, self._agreement = above, 0, failures.Agreement()
        self.lost: list[str] = []
        can, made = above.survives if above else failures.can_survive(), [comm.Dup()]
        try:
            topology = Topology(made[0], node)
            made = topology.communicators
            self._settle_on(topology)
            self._threads = above.blas_threads if above else self._cores_each()
        except MPI.Exception:
            if can:
                # The others wait in them for this rank.
                failures.revoke(made)
            raise
        self.survives = can and self.size > 1
        self.watch = Watch(self.rank, self.host, self._board, name, above.watch if above else None)
        self.watch.survives = self.survives

    def _settle_on(self, topology: Topology) -> None:
        """Take the ranks of `topology` as those of this communicator. Collective."""
        self._topology, above = topology, self._above
        self._comm, self._node = topology.comm, topology.node
        self.rank, self.size = self._comm.rank, self._comm.size
        # The launcher's variable for the local rank may number the ranks of a node otherwise.
        self.local_rank, self.local_size = self._node.rank, self._node.size
        self.host_rank = above.host_rank if above else self.local_rank
        self.host_size = above.host_size if above else self.local_size
        self.members = self._comm.allgather((MPI.COMM_WORLD.rank, self.host))
        self.hosts = sorted({host for _, host in self.members})
        board = self._board = self.node_array((self.local_size,), BOARD)
        board[self.local_rank] = (self.rank, os.getpid(), 0.0, 0.0, 0.0, b"starting")
        self._node.Barrier()

    def _cores_each(self) -> int:
        """Return the cores of this rank: those it may use, divided by the ranks that may too."""
        mine = cores()
        sharing = [others for others in self._node.allgather(mine) if others & mine]
        return max(1, len(mine) // len(sharing))

    def is_loss(self, error: BaseException) -> bool:
        return self.survives and failures.is_loss(error, self._comm)

    def survive(self, work: Callable[[], T], mend: Callable[[list[str]], None] | None = None) -> T:
        lost: list[str] | None = None
        if self._sections and self.survives:
            # All are in this inner section, or all go on in the one around it.
            self._agreement.reach(self._comm)
        self._sections += 1
        try:
            while self.survives:
                try:
                    if lost is not None and mend:
                        # What a lost rank did is known on its node only.
                        self._together_out_of(partial(mend, self.share(lost)))
                    lost = None
                    return self._together_out_of(work)
                except BaseException as error:
                    if not failures.is_loss(error, self._comm):
                        raise
                    lost = (lost or []) + self._go_on_without()
            return work()
        finally:
            self._sections -= 1

    def _together_out_of(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what all ranks raise; where one died, do neither.

        A call in which a rank dies can fail on one rank and be another one's last before its end.
        """
        try:
            value = work()
        except BaseException as error:
            if raised_everywhere(error):
                self._agreement.reach(self._comm)
            raise
        self._agreement.reach(self._comm)
        return value

    def _go_on_without(self) -> list[str]:
        """Become the communicator of the ranks that are left; return a sentence for each lost one.

        Collective over them. One that dies meanwhile is left out by another turn.
        """
        before = {member: self._phase_of(member) for member in self.members}
        self.phase(GOING_ON)
        self._agreement.fail(self._topology.communicators)
        failures.survivors_of(self._topology, self._settle_on)
        self.watch.regroup(self.rank, self._board)
        self.inside = ""
        lost = [
            f"rank {rank} on {host} died{phase}"
            for (rank, host), phase in before.items()
            if (rank, host) not in self.members
        ]
        self.lost += lost
        return lost

    def _phase_of(self, member: tuple[int, str]) -> str:
        """Return in which phase a rank of this node is, as part of a sentence; "" for others."""
        for row in self._board:
            if self.members[int(row["rank"])] == member:
                return f" in '{row['phase'].decode()}'"
        return ""

    def dead(self) -> dict[int, str]:
        found = failures.dead_in(self._comm) if self.survives else []
        named = [(rank, self.members[rank]) for rank in found]
        return {
            rank: f"rank {member[0]} on {member[1]} died{self._phase_of(member)}"
            for rank, member in named
        }

    def split(self, colour: int) -> Communicator:
        part = self._comm.Split(colour, self.rank)
        if self.survives:
            # All have their part, and afterwards their group, or none begins to work in one.
            self._agreement.reach(self._comm)
        group = Ranks(part, above=self, name=group_name(self.name, colour))
        if self.survives:
            self._agreement.reach(self._comm)
        part.Free()
        return group

    def leave(self) -> None:
        with contextlib.suppress(MPI.Exception):
            self._comm.Barrier()

    def close(self) -> None:
        """End the watch and free the communicators."""
        self.closed = True
        self.watch.close()
        self._topology.close()

    @property
    def blas_threads(self) -> int:
        """BLAS threads for this rank: ranks that may use the same cores divide them."""
        return self._threads

    @property
    def shared_room(self) -> float:
        """Bytes that are free where shared windows live, with some left for MPI itself."""
        return self._topology.memory.room

    def share(self, value: T | None = None, source: int = 0) -> T:
        self.refuse_inside()
        if not self.survives:
            return self._comm.bcast(value, source)  # type: ignore[no-any-return]
        found = self._comm.bcast(failures.framed(value) if self.rank == source else None, source)
        return failures.unframed(found)  # type: ignore[no-any-return]

    def collect(self, value: T) -> list[T]:
        self.refuse_inside()
        if not self.survives:
            return self._comm.allgather(value)
        return [failures.unframed(found) for found in self._comm.allgather(failures.framed(value))]

    def gather(self, value: T) -> list[T]:
        self.refuse_inside()
        return self._comm.gather(value) or []

    def broadcast(self, array: np.ndarray[Any, Any], source: int = 0) -> None:
        self.refuse_inside()
        raw = array.reshape(-1).view(np.uint8)
        for low in range(0, len(raw), LARGEST):
            self._comm.Bcast(raw[low : low + LARGEST], source)

    def pass_on(self, out: np.ndarray[Any, Any], into: np.ndarray[Any, Any]) -> None:
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        self._comm.Sendrecv(out, after, 0, into, before, 0)

    def barrier(self) -> None:
        self.refuse_inside()
        self._comm.Barrier()

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        try:
            return self._topology.memory.array(shape, np.dtype(dtype))
        except OSError as error:
            raise UsageError(
                f"{self.host} can't provide shared memory for an array of shape {shape} ({error}): "
                'make room in /dev/shm, or use data.memory = "stream"'
            ) from None

    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        try:
            return summation(self._topology, length, np.dtype(dtype), header, way)
        except UsageError as error:
            # All ranks raise it; `settle` makes one report of it.
            self.settle("choosing how to sum", error)
            raise

    def leaf_summation(
        self, held: Held, width: int, length: int, dtype: Any, header: int
    ) -> LeafSum:
        return leaf_summation(self._topology, held, width, length, np.dtype(dtype), header)

    def all_gather(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> AllGather:
        return all_gather(self._topology, shapes, dtypes)

    def abort(self, code: int) -> NoReturn:
        """End all ranks of the job at once, from one of them, with `code`. Not collective."""
        sys.stdout.flush()
        sys.stderr.flush()
        leave_status(code)
        MPI.COMM_WORLD.Abort(code)
        raise SystemExit(code)
