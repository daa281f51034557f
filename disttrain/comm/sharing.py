"""The ways in which ranks see each other's rows: memory that a node shares, or messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from mpi4py import MPI

from disttrain.comm.mosaic import AloneMosaic, Mosaic
from disttrain.comm.sums.window import PAGE, room, shared_array

__all__ = ["mosaic"]


class NodeMosaic(Mosaic):
    """All ranks are on one node: the arrays lie in one shared window, and nothing is sent."""

    def __init__(
        self, node: MPI.Comm, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype]
    ) -> None:
        self._node, self.arrays = node, []
        lengths = [_bytes(s, d) for s, d in zip(shapes, dtypes, strict=True)]
        memory, self._window = shared_array(node, (sum(lengths),), np.dtype("u1"))
        begin = 0
        for shape, dtype, length in zip(shapes, dtypes, lengths, strict=True):
            used = int(np.prod(shape)) * dtype.itemsize
            self.arrays.append(memory[begin : begin + used].view(dtype).reshape(shape))
            begin += length
        if node.rank == 0:
            memory[:] = 0
        node.Barrier()

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Wait until all have written."""
        self._node.Barrier()

    def close(self) -> None:
        """Free the window. Collective."""
        self._window.Free()


class MessageMosaic(Mosaic):
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


def mosaic(
    world: MPI.Comm, node: MPI.Comm, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]
) -> Mosaic:
    """Return a mosaic of arrays of these shapes and types, filled with zeros. Collective."""
    types = [np.dtype(d) for d in dtypes]
    if world.size == 1:
        return AloneMosaic(shapes, types)
    needed = sum(_bytes(s, d) for s, d in zip(shapes, types, strict=True))
    here = node.size == world.size and needed < room()
    if world.allreduce(here, MPI.LAND):
        return NodeMosaic(node, shapes, types)
    return MessageMosaic(world, shapes, types)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the length of an array in whole pages: no two arrays lie in one."""
    return -(-int(np.prod(shape)) * dtype.itemsize // PAGE) * PAGE
