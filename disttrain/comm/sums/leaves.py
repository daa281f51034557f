"""The sum over leaves in the order of a fixed tree: the same bits on any number of ranks.

No floating-point number is added by MPI. Ranks bring the sums of their subtrees together, each rank
completes the tree for its own segment of the vector, and the segments are gathered.
"""

from __future__ import annotations

import functools
from abc import abstractmethod

import numpy as np
from mpi4py import MPI

from disttrain.comm.barrier import Barrier
from disttrain.comm.memory import SharedMemory, paged
from disttrain.comm.sums.base import AloneLeaves, Held, LeafSum, Vector
from disttrain.comm.sums.tree import CHUNK, TOTAL, additions
from disttrain.comm.sums.window import pages_of
from disttrain.comm.swap import Swap
from disttrain.comm.topology import Topology

__all__ = ["leaf_summation"]


class _Completed(LeafSum):
    """The additions that both ways have in common."""

    def __init__(self, held: Held, width: int) -> None:
        self.program = functools.cache(lambda leaves: additions(held(leaves), width))

    def _complete(self, leaves: int, rows: np.ndarray, low: int, high: int) -> None:
        """Add `rows[:, low:high]` in the order of the tree, the last time into `total`."""
        for begin in range(low, high, CHUNK):
            part = slice(begin, min(begin + CHUNK, high))
            for to, a, b in self.program(leaves):
                out = self._out(part) if to == TOTAL else rows[to, part]
                if a == b:
                    np.copyto(out, rows[a, part])
                else:
                    np.add(rows[a, part], rows[b, part], out=out)

    @abstractmethod
    def _out(self, part: slice) -> Vector:
        """Return where the sum of a part of the rows belongs."""


class WindowLeaves(_Completed):
    """All ranks of one node: subtrees and total lie in a window that all of them share."""

    def __init__(
        self, memory: SharedMemory, held: Held, width: int, length: int, dtype: np.dtype,
        header: int,
    ) -> None:  # fmt: skip
        super().__init__(held, width)
        self.way = "tree+window"
        node = memory.node
        padded, edges = pages_of(length, dtype, node.size)
        rows = memory.array((node.size * width + 1, padded), dtype)
        self.headers = memory.array((node.size, header), np.dtype("f8"))
        mine = slice(node.rank * width, (node.rank + 1) * width)
        rows[mine], self.headers[node.rank] = 0, 0
        self.rows, self.messages = rows[:-1], rows[mine, :length]
        self.total, self.total_header = rows[-1, :length], np.zeros(header)
        self.header = self.headers[node.rank]
        self.slice = edges[node.rank], edges[node.rank + 1]
        self.barrier = Barrier(memory)

    def _out(self, part: slice) -> Vector:
        return self.total[part]

    def finish(self, leaves: int) -> None:
        """Wait for all subtrees, complete this rank's slice of the vector, wait for all slices."""
        self.barrier.wait()
        self._complete(leaves, self.rows, *self.slice)
        np.add.reduce(self.headers, axis=0, out=self.total_header)
        self.barrier.wait()


class MessageLeaves(_Completed):
    """Ranks anywhere: each completes its segment of all subtrees, then all get all segments."""

    def __init__(
        self, comm: MPI.Comm, held: Held, width: int, length: int, dtype: np.dtype, header: int
    ) -> None:
        super().__init__(held, width)
        self.way = "tree+alltoall"
        self._comm, self._held, self._width = comm, held, width
        self._swap = Swap(comm)
        self.messages, (self.total,) = paged(width, length, dtype), paged(1, length, dtype)
        self.header, self.total_header = np.zeros(header), np.zeros(header)
        self._headers = np.zeros((comm.size, header))
        self._edges = [length * rank // comm.size for rank in range(comm.size + 1)]
        part = self._part(comm.rank)
        self._segments = np.zeros((comm.size * width, part.stop - part.start), dtype)

    def _part(self, rank: int) -> slice:
        return slice(self._edges[rank], self._edges[rank + 1])

    def _out(self, part: slice) -> Vector:
        low = self._edges[self._comm.rank]
        return self.total[low + part.start : low + part.stop]

    def finish(self, leaves: int) -> None:
        """Send each rank its segment of this rank's subtrees; complete; gather."""
        comm, rank, held = self._comm, self._comm.rank, [len(s) for s in self._held(leaves)]
        others = [other for other in range(comm.size) if other != rank]
        mine = self._segments[rank * self._width :][: held[rank]]
        mine[...] = self.messages[: held[rank], self._part(rank)]
        self._swap.do(
            [(m[self._part(to)], to) for to in others for m in self.messages[: held[rank]]],
            [(m, by) for by in others for m in self._segments[by * self._width :][: held[by]]],
        )
        self._complete(leaves, self._segments, 0, self._segments.shape[1])
        self._headers[rank] = self.header
        here = self.total[self._part(rank)]
        self._swap.do(
            [(array, to) for to in others for array in (here, self.header)],
            [(array, by) for by in others
             for array in (self.total[self._part(by)], self._headers[by])],
        )  # fmt: skip
        np.add.reduce(self._headers, axis=0, out=self.total_header)


def leaf_summation(
    topology: Topology, held: Held, width: int, length: int, dtype: np.dtype, header: int
) -> LeafSum:
    """Return the sum over leaves: in shared memory where all ranks are on one node. Collective."""
    if topology.comm.size == 1:
        return AloneLeaves(length, dtype, header)
    needed = (topology.node.size * width + 1) * length * dtype.itemsize
    if topology.fits(needed) and topology.one_node:
        return WindowLeaves(topology.memory, held, width, length, dtype, header)
    return MessageLeaves(topology.comm, held, width, length, dtype, header)
