"""Long messages both ways at once: what a rank sends does not hold up what it receives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

__all__ = ["swap"]

Array = np.ndarray[Any, Any]

# Bytes: just under what Open MPI sends by TCP without asking (btl_tcp_eager_limit, 65,536).
SEGMENT = 60_000
DATA, READY = 0, 1
NOTHING = np.empty(0, np.uint8)


def swap(
    comm: MPI.Comm, sends: Iterable[tuple[Array, int]], receives: Iterable[tuple[Array, int]]
) -> None:
    """Send each array to its rank, receive each from its rank; return when all is done.

    Each pair of ranks names its arrays in one order; empty ones count too. They go in messages so
    short that MPI sends them at once: a long one it announces first, and the answer to that stands
    behind megabytes on the same connection, so that its two directions take turns (1.3 MB each way
    between two hosts of 100 Mbit/s: 208 ms instead of 106). A rank sends when the receiver has said
    that it waits, so that nothing piles up there.
    """
    sends, receives = list(sends), list(receives)
    requests = [
        comm.Irecv(part, rank, DATA) for array, rank in receives for part in segments(array)
    ]
    requests += [comm.Isend(NOTHING, rank, READY) for rank in {rank for _, rank in receives}]
    MPI.Request.Waitall([comm.Irecv(NOTHING, rank, READY) for rank in {rank for _, rank in sends}])
    requests += [comm.Isend(part, rank, DATA) for array, rank in sends for part in segments(array)]
    MPI.Request.Waitall(requests)


def segments(array: Array) -> Iterator[Array]:
    """Yield the numbers of a contiguous array in parts of `SEGMENT` bytes."""
    numbers, most = array.reshape(-1), SEGMENT // array.itemsize
    for low in range(0, len(numbers), most):
        yield numbers[low : low + most]
