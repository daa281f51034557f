"""On which node each rank of a communicator is, and with which local rank."""

from __future__ import annotations

from mpi4py import MPI

from disttrain.comm.memory import SharedMemory

__all__ = ["Topology"]


class Topology:
    """The ranks of `comm`, those of this rank's node, and those with the same local rank.

    `comm` becomes the topology's own: `close` frees it. `node` are the ranks that share memory with
    this one; where it is not given, those on the same host.
    """

    def __init__(self, comm: MPI.Comm, node: MPI.Comm | None = None) -> None:
        self.comm = comm
        # Ranks are numbered alike on the node and in `comm`.
        self.node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank) if node is None else node.Dup()
        self.memory = SharedMemory(self.node)
        self._peers: MPI.Comm | None = None

    @property
    def communicators(self) -> list[MPI.Comm]:
        """All that were made, the widest first."""
        made = [self.comm, self.node, self._peers]
        return [comm for comm in made if comm is not None]

    @property
    def one_node(self) -> bool:
        """True where all ranks share memory."""
        return self.node.size == self.comm.size

    @property
    def peers(self) -> MPI.Comm:
        """The ranks of all nodes with this local rank. Collective at the first call."""
        if self._peers is None:
            self._peers = self.comm.Split(self.node.rank, self.comm.rank)
        return self._peers

    def fits(self, length: int) -> bool:
        """Return True where every node has room for `length` more shared bytes. Collective."""
        # Not mpi4py's `allreduce` of objects: it duplicates the communicator, and crashes in that
        # where a rank dies.
        return all(self.comm.allgather(length < self.memory.room))

    def close(self) -> None:
        """Free the communicators, the widest last. Collective."""
        self.memory.close()
        if self._peers is not None:
            self._peers.Free()
        self.comm.Free()
