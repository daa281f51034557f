"""Which way to sum: by topology inside a node, by a short measurement between nodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from disttrain.comm.sums.allreduce import Allreduce, Buckets
from disttrain.comm.sums.base import Sum, Vector
from disttrain.comm.sums.ring import Ring
from disttrain.comm.sums.window import Window, room
from disttrain.errors import UsageError

__all__ = ["summation"]

FLAT: dict[str, Callable[[MPI.Comm, Vector, Vector], Sum]] = {
    "allreduce": Allreduce,
    "buckets": Buckets,
    "ring": Ring,
}
ROUNDS = 5


def summation(
    world: MPI.Comm, node: MPI.Comm, length: int, dtype: np.dtype, header: int, way: str
) -> Sum:
    """Return the sum by `way`: "window", "allreduce", "buckets", "ring" or "auto". Collective.

    "auto" is the window where all ranks are on one node. On several nodes it is the fastest of the
    ways, timed on the message itself: median of a few rounds, slowest rank, judged by rank 0.
    """
    local_sizes = world.allgather(node.size)
    even = min(local_sizes) == max(local_sizes)
    one_node = node.size == world.size
    if way == "window" and not even:
        raise UsageError(
            'communication.sum = "window" needs as many ranks on every node; use "auto" or "ring"'
        )
    if way in FLAT:
        return flat(world, length, dtype, header, way)
    if one_node:
        return _window(world, node, length, dtype, header, None)
    ways: list[Callable[[], Sum]] = []
    if max(local_sizes) > 1 and even:
        peers: MPI.Comm = world.Split(node.rank, world.rank)
        for name in ("ring", "allreduce"):
            ways.append(lambda n=name: _window(world, node, length, dtype, header, (peers, n)))  # type: ignore[misc]
    if way == "auto":
        for name in ("ring", "allreduce"):
            ways.append(lambda n=name: flat(world, length, dtype, header, n))  # type: ignore[misc]
    return fastest(world, ways or [lambda: flat(world, length, dtype, header, "ring")])


def flat(world: MPI.Comm, length: int, dtype: np.dtype, header: int, way: str) -> Sum:
    """Return a sum that knows nothing of nodes."""
    return FLAT[way](world, np.zeros(length, dtype), np.zeros(header))


def _window(
    world: MPI.Comm,
    node: MPI.Comm,
    length: int,
    dtype: np.dtype,
    header: int,
    across: tuple[MPI.Comm, str] | None,
) -> Sum:
    """Return the window, or on all ranks an allreduce where a node has no room for it."""
    made: Sum | None = None
    needed = (node.size + 1) * length * dtype.itemsize
    if not world.allreduce(needed < room(), MPI.LAND):
        return flat(world, length, dtype, header, "allreduce")
    try:
        over = (lambda m, h: FLAT[across[1]](across[0], m, h)) if across else None
        made = Window(node, length, dtype, header, over)
    except MPI.Exception:
        made = None
    if world.allreduce(made is None, MPI.LOR):
        return flat(world, length, dtype, header, "allreduce")
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
            seconds.append(world.allreduce(time.perf_counter() - begin, MPI.MAX))
        time_taken = statistics.median(seconds)
        if time_taken < least:
            best, way, least = way, best, time_taken
        if way is not None:
            way.close()
    assert best is not None
    best.message[:] = 0
    best.header[:] = 0
    return best
