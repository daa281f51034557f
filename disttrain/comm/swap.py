"""Long messages both ways at once: what a rank sends does not hold up what it receives."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

__all__ = ["Swap", "ranks_of_host"]

Array = np.ndarray[Any, Any]

# Bytes of a message between hosts: just under what Open MPI sends by TCP without asking
# (btl_tcp_eager_limit, 65,536); and inside a host: what MPI-3's counts can say in any dtype.
FAR, NEAR = 60_000, 1 << 30
DATA, READY = 0, 1
NOTHING = np.empty(0, np.uint8)


class Swap:
    """Sends arrays to some ranks of `comm` and receives arrays from some.

    Between ranks of one host an array is one message, up to 1 GiB. Between hosts arrays go in
    messages so short that MPI sends them at once: a long one it announces first, and the answer to
    that stands behind megabytes on the same connection, so that its two directions take turns
    (1.3 MB each way between two hosts of 100 Mbit/s: 208 ms instead of 106). There a rank sends
    when the receiver has said that it waits, so that nothing piles up.

    `near` are the ranks of this host. Where they are not given, making one is collective.
    """

    def __init__(self, comm: MPI.Comm, near: Collection[int] | None = None) -> None:
        self._comm = comm
        self._near = frozenset(ranks_of_host(comm) if near is None else near)

    def do(self, sends: Iterable[tuple[Array, int]], receives: Iterable[tuple[Array, int]]) -> None:
        """Send each array to its rank, receive each from its rank; return when all is done.

        Each pair of ranks names its arrays in one order; empty ones count too.
        """
        comm, sends, receives = self._comm, list(sends), list(receives)
        requests = [
            comm.Irecv(part, rank, DATA)
            for array, rank in receives
            for part in self._parts(array, rank)
        ]
        waits = {rank for _, rank in sends} - self._near
        ready = [comm.Irecv(NOTHING, rank, READY) for rank in waits]
        for rank in {rank for _, rank in receives} - self._near:
            requests.append(comm.Isend(NOTHING, rank, READY))
        # Near ones first: they do not wait for a word.
        for far in (False, True):
            if far:
                MPI.Request.Waitall(ready)
            requests += [
                comm.Isend(part, rank, DATA)
                for array, rank in sends
                if (rank in waits) == far
                for part in self._parts(array, rank)
            ]
        MPI.Request.Waitall(requests)

    def _parts(self, array: Array, rank: int) -> Iterator[Array]:
        """Yield the numbers of a contiguous array in as many parts as go in one message each."""
        numbers = array.reshape(-1)
        most = (NEAR if rank in self._near else FAR) // array.itemsize
        for low in range(0, len(numbers), most):
            yield numbers[low : low + most]


def ranks_of_host(comm: MPI.Comm) -> list[int]:
    """Return the ranks of `comm` that are on this rank's host. Collective.

    By name: a communicator of the host's ranks could not be revoked where a rank dies meanwhile.
    """
    hosts = comm.allgather(socket.gethostname())
    return [rank for rank, host in enumerate(hosts) if host == hosts[comm.rank]]
