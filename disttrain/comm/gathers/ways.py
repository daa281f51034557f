"""The ways of an all-gather: memory that the ranks of a node share, messages, or both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mpi4py import MPI

from disttrain.comm.barrier import Barrier
from disttrain.comm.gathers.base import AllGather, AloneGather
from disttrain.comm.memory import PAGE, SharedMemory
from disttrain.comm.swap import Swap
from disttrain.comm.topology import Topology

__all__ = ["all_gather"]


class WindowGather(AllGather):
    """All ranks are on one node: the arrays lie in one shared window, and nothing is sent."""

    def __init__(
        self, memory: SharedMemory, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype]
    ) -> None:
        self.arrays = []
        lengths = [_bytes(s, d) for s, d in zip(shapes, dtypes, strict=True)]
        window = memory.array((sum(lengths),), np.dtype("u1"))
        begin = 0
        for shape, dtype, length in zip(shapes, dtypes, lengths, strict=True):
            used = int(np.prod(shape)) * dtype.itemsize
            self.arrays.append(window[begin : begin + used].view(dtype).reshape(shape))
            begin += length
        if memory.node.rank == 0:
            window[:] = 0
        self.barrier = Barrier(memory)

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Wait until all have written."""
        self.barrier.wait()


class MessageGather(AllGather):
    """Ranks anywhere: every rank has arrays of its own, and gets the others' rows by messages."""

    def __init__(
        self, comm: MPI.Comm, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype]
    ) -> None:
        self.arrays = [np.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)]
        self._exchange = Exchange(comm, [[rank] for rank in range(comm.size)])

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Send this rank's rows to all, receive theirs."""
        self._exchange.do(self.arrays, edges)


class NodesGather(AllGather):
    """Several nodes, each with the arrays in its shared window: a row comes to a node once."""

    def __init__(self, topology: Topology, window: WindowGather) -> None:
        self._window, self.arrays = window, window.arrays
        firsts = topology.comm.allgather(topology.node.bcast(topology.comm.rank))
        nodes: dict[int, list[int]] = {}
        for rank, first in enumerate(firsts):
            nodes.setdefault(first, []).append(rank)
        self._exchange = Exchange(topology.comm, list(nodes.values()))

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Send this rank's rows to one rank of each other node; wait for the others of this one."""
        self._exchange.do(self.arrays, edges)
        self._window.complete(edges)


class Exchange:
    """Rows that go from each rank to one rank of every other node, all under way at once.

    `nodes` are the ranks of each node. The ranks of a node take turns at receiving.
    """

    def __init__(self, comm: MPI.Comm, nodes: Sequence[Sequence[int]]) -> None:
        self._comm, self._swap = comm, Swap(comm)
        home = next(node for node in nodes if comm.rank in node)
        place, others = home.index(comm.rank), [node for node in nodes if node is not home]
        self._receivers = [node[place % len(node)] for node in others]
        self._senders = [
            rank for node in others for n, rank in enumerate(node) if n % len(home) == place
        ]

    def do(self, arrays: Sequence[np.ndarray[Any, Any]], edges: Sequence[Sequence[int]]) -> None:
        """Do it: rank `r` has rows `edges[n][r]..edges[n][r + 1] - 1` of array `n`. Collective."""

        def rows(rank: int) -> list[np.ndarray[Any, Any]]:
            """Return the rows of a rank in each array."""
            return [a[cuts[rank] : cuts[rank + 1]] for a, cuts in zip(arrays, edges, strict=True)]

        mine = rows(self._comm.rank)
        self._swap.do(
            [(part, receiver) for receiver in self._receivers for part in mine],
            [(part, sender) for sender in self._senders for part in rows(sender)],
        )


def all_gather(
    topology: Topology, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]
) -> AllGather:
    """Return an all-gather of arrays of these shapes and types, filled with zeros. Collective."""
    types = [np.dtype(d) for d in dtypes]
    if topology.comm.size == 1:
        return AloneGather(shapes, types)
    needed = sum(_bytes(s, d) for s, d in zip(shapes, types, strict=True))
    room = topology.fits(needed)
    if room and topology.one_node:
        return WindowGather(topology.memory, shapes, types)
    if room:
        window: WindowGather | None = None
        with suppress(OSError):
            window = WindowGather(topology.memory, shapes, types)
        if all(topology.comm.allgather(window is not None)):
            assert window is not None
            return NodesGather(topology, window)
    return MessageGather(topology.comm, shapes, types)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the length of an array in whole pages: no two arrays lie in one."""
    return -(-int(np.prod(shape)) * dtype.itemsize // PAGE) * PAGE
