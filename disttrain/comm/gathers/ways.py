"""The ways of an all-gather: memory that the ranks of a node share, or messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from mpi4py import MPI

from disttrain.comm.barrier import Barrier
from disttrain.comm.gathers.base import AllGather, AloneGather
from disttrain.comm.memory import PAGE, SharedMemory
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
        self._comm = comm
        self.arrays = [np.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)]

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Gather the rows of each array from all ranks, in place."""
        for array, cuts in zip(self.arrays, edges, strict=True):
            width = int(np.prod(array.shape[1:]))
            counts = [(high - low) * width for low, high in pairwise(cuts)]
            places = [low * width for low in cuts[:-1]]
            self._comm.Allgatherv(MPI.IN_PLACE, [array.reshape(-1), (counts, places)])


def all_gather(
    topology: Topology, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]
) -> AllGather:
    """Return an all-gather of arrays of these shapes and types, filled with zeros. Collective."""
    types = [np.dtype(d) for d in dtypes]
    if topology.comm.size == 1:
        return AloneGather(shapes, types)
    needed = sum(_bytes(s, d) for s, d in zip(shapes, types, strict=True))
    if topology.fits(needed) and topology.one_node:
        return WindowGather(topology.memory, shapes, types)
    return MessageGather(topology.comm, shapes, types)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the length of an array in whole pages: no two arrays lie in one."""
    return -(-int(np.prod(shape)) * dtype.itemsize // PAGE) * PAGE
