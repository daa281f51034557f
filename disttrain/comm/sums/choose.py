"""Which way to sum: by topology inside a node, by a short measurement between nodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from mpi4py import MPI

from disttrain.comm.memory import paged
from disttrain.comm.sums.allreduce import Allreduce, Buckets
from disttrain.comm.sums.base import NoSum, Sum, Vector
from disttrain.comm.sums.ring import Ring
from disttrain.comm.sums.window import Window
from disttrain.comm.swap import ranks_of_host
from disttrain.comm.topology import Topology
from disttrain.errors import UsageError

__all__ = ["summation"]

FLAT: dict[str, Callable[[MPI.Comm, Vector, Vector], Sum]] = {
    "allreduce": Allreduce,
    "buckets": Buckets,
    "ring": Ring,
}
ROUNDS = 5


def summation(topology: Topology, length: int, dtype: np.dtype, header: int, way: str) -> Sum:
    """Return the sum by `way`: "window", "allreduce", "buckets", "ring" or "auto". Collective.

    "auto" is none for a single rank, and the window where all ranks are on one node. On several
    nodes it is the fastest of the ways, timed on the message itself: the median of a few rounds,
    each as long as its slowest rank.
    """
    comm = topology.comm
    if way == "auto" and comm.size == 1:
        return NoSum(length, dtype, header)
    local_sizes = comm.allgather(topology.node.size)
    even = min(local_sizes) == max(local_sizes)
    if way == "window" and not even:
        raise UsageError(
            'communication.sum = "window" needs as many ranks on every node; use "auto" or "ring"'
        )
    if way in FLAT:
        return flat(comm, length, dtype, header, way)
    if topology.one_node:
        return by_window(topology, length, dtype, header)
    ways: list[Callable[[], Sum]] = []
    if max(local_sizes) > 1 and even:
        for name in ("ring", "allreduce"):
            ways.append(lambda n=name: by_window(topology, length, dtype, header, n))  # type: ignore[misc]
    if way == "auto":
        for name in ("ring", "allreduce"):
            ways.append(lambda n=name: flat(comm, length, dtype, header, n))  # type: ignore[misc]
    return fastest(comm, ways or [lambda: flat(comm, length, dtype, header, "ring")])


def flat(comm: MPI.Comm, length: int, dtype: np.dtype, header: int, way: str) -> Sum:
    """Return a sum that treats all ranks alike, on whichever node they are."""
    return FLAT[way](comm, paged(1, length, dtype)[0], np.zeros(header))


def by_window(
    topology: Topology, length: int, dtype: np.dtype, header: int, across: str = ""
) -> Sum:
    """Return the window, with the way `across` nodes where there are several. Collective.

    Where a node has no room for it, all ranks take an allreduce.
    """
    made: Sum | None = None
    comm, node = topology.comm, topology.node
    over: Callable[[Vector, Vector], Sum] | None = None
    # What all ranks do together is done here: the window may fail on one node only.
    if across == "ring":
        over = partial(Ring, topology.peers, near=ranks_of_host(topology.peers))
    elif across:
        over = partial(FLAT[across], topology.peers)
    if not topology.fits((node.size + 1) * length * dtype.itemsize):
        return flat(comm, length, dtype, header, "allreduce")
    try:
        made = Window(topology.memory, length, dtype, header, over)
    except OSError:
        made = None
    if any(comm.allgather(made is None)):
        return flat(comm, length, dtype, header, "allreduce")
    assert made is not None
    return made


def fastest(world: MPI.Comm, ways: list[Callable[[], Sum]]) -> Sum:
    """Return the way whose slowest rank is fastest. Collective; the same choice on every rank."""
    way: Sum | None
    best: Sum | None = None
    least = float("inf")
    for make in ways:
        way = make()
        seconds = []
        for _ in range(ROUNDS):
            world.Barrier()
            begin = time.perf_counter()
            way.finish()
            seconds.append(max(world.allgather(time.perf_counter() - begin)))
        time_taken = statistics.median(seconds)
        if time_taken < least:
            best, way, least = way, best, time_taken
    assert best is not None
    best.message[:] = 0
    best.header[:] = 0
    return best
