"""What each rank does for `allreduce.py`; rank 0 prints the medians as one line of JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import disttrain
from disttrain.environment import prepare_blas

prepare_blas()
# Joins before mpi4py is imported here: it sets how MPI starts.
disttrain.connect()

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

from disttrain.comm import Communicator, Sum  # noqa: E402

HEADER = 5
SIZES = (10**5, 10**6, 10**7)
MIB = 1 << 20
LAYERS = 10


def main() -> None:
    """Measure sums and overlap; print them on rank 0."""
    quick = "--quick" in sys.argv
    comm, world = disttrain.connect(), MPI.COMM_WORLD.Dup()
    sums = [measure_sums(comm, world, n, quick) for n in SIZES]
    overlap = [measure_overlap(comm, world, n, quick) for n in SIZES[1 : 2 if quick else 3]]
    if world.rank == 0:
        versions = f"numpy {np.__version__}, {comm.library}"
        result = {"ranks": world.size, "sums": sums, "overlap": overlap, "versions": versions}
        print(json.dumps(result), flush=True)


def measure_sums(comm: Communicator, world: MPI.Comm, n: int, quick: bool) -> dict[str, float]:
    """Return the median time of each way for `n` numbers, and the bandwidths (bytes a second)."""
    ways = {
        w: comm.summation(n, "f4", HEADER, w) for w in ("window", "allreduce", "buckets", "ring")
    }
    for way, sum_ in ways.items():
        assert sum_.way == way, (way, sum_.way)
    out, into = np.ones(n, "f4"), np.zeros(n, "f4")
    after, before = (world.rank + 1) % world.size, (world.rank - 1) % world.size
    runs: dict[str, Callable[[], object]] = {w: s.finish for w, s in ways.items()}
    runs["message bandwidth"] = lambda: world.Sendrecv(out, after, 0, into, before, 0)
    runs["memory bandwidth"] = lambda: np.copyto(into, out)

    def prepare(name: str) -> None:
        (ways[name].message if name in ways else out)[:] = 1

    seconds = in_turns(world, runs, prepare, rounds(n, quick))
    size = 4.0 * n
    seconds["message bandwidth"] = size / seconds["message bandwidth"]
    seconds["memory bandwidth"] = 2 * size / seconds["memory bandwidth"]
    return {"bytes": size, **seconds}


def measure_overlap(comm: Communicator, world: MPI.Comm, n: int, quick: bool) -> dict[str, float]:
    """Return the median ms of compute and sum: one after the other, or in buckets between."""
    window, end, buckets = (
        comm.summation(n, "f4", HEADER, w) for w in ("window", "allreduce", "buckets")
    )
    a, c = np.ones((256, 256), "f4"), np.zeros((256, 256), "f4")
    products = calibrated(world, end, a, c)

    def compute(sum_: Sum | None) -> None:
        for layer in range(1, LAYERS + 1):
            for _ in range(products):
                np.dot(a, a, out=c)
            if sum_:
                sum_.start(n * layer // LAYERS)
        if sum_:
            sum_.finish()

    runs: dict[str, Callable[[], object]] = {
        "compute": lambda: compute(None),
        "window at end": lambda: compute(window),
        "allreduce at end": lambda: compute(end),
        **{f"buckets {mib} MiB": lambda: compute(buckets) for mib in (1, 4, 16)},
    }

    def prepare(name: str) -> None:
        for sum_ in (window, end, buckets):
            sum_.message[:] = 1
        if name.startswith("buckets"):
            buckets.cuts = cuts(n, int(name.split()[1]) * MIB // 4)

    seconds = in_turns(world, runs, prepare, rounds(n, quick))
    return {"MB": n * 4e-6, **{name: s * 1e3 for name, s in seconds.items()}}


def cuts(n: int, bucket: int) -> list[int]:
    """Return the ends of buckets of at least `bucket` numbers, each the end of a layer."""
    ends = [0]
    for layer in range(1, LAYERS + 1):
        if n * layer // LAYERS - ends[-1] >= bucket:
            ends.append(n * layer // LAYERS)
    return ends[1:]


def calibrated(world: MPI.Comm, end: Sum, a: np.ndarray, c: np.ndarray) -> int:
    """Return how many products a layer needs for compute to last about as long as the sum."""
    runs = {"sum": end.finish, "product": lambda: np.dot(a, a, out=c)}
    seconds = in_turns(world, runs, lambda name: None, 15)
    return max(1, round(seconds["sum"] / seconds["product"] / LAYERS))


def rounds(n: int, quick: bool) -> int:
    """Return how often each way has its turn for messages of `n` numbers."""
    return {10**5: 60, 10**6: 30, 10**7: 9}[n] // (3 if quick else 1)


def in_turns(
    world: MPI.Comm,
    runs: dict[str, Callable[[], object]],
    prepare: Callable[[str], None],
    count: int,
) -> dict[str, float]:
    """Return the median over rounds of the slowest rank's seconds for each run. Collective."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count + 1):
        for name, run in runs.items():
            prepare(name)
            world.Barrier()
            begin = time.perf_counter()
            run()
            times[name].append(world.allreduce(time.perf_counter() - begin, MPI.MAX))
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


if __name__ == "__main__":
    main()
