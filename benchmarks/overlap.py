"""Does it pay to send buckets of gradients while backpropagation goes on?

    disttrain launch -n 2 python benchmarks/overlap.py [--quick]

Compute is a chain of sgemm calls, about as long as the sum; then one sum at the end, against an
Iallreduce for each finished bucket between the calls. See README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import disttrain
from disttrain.environment import prepare_blas

prepare_blas()
comm = disttrain.connect()

import numpy as np  # noqa: E402

from disttrain.bench.turns import in_turns, machine  # noqa: E402
from disttrain.comm import Sum  # noqa: E402

HEADER = 5
SIZES = (10**6, 10**7)
ROUNDS = {10**6: 30, 10**7: 9}
MIB = 1 << 20
LAYERS = 10


def main() -> None:
    """Measure each size and print a table (rank 0)."""
    quick, before = "--quick" in sys.argv, machine()
    found = [measure(n, ROUNDS[n] // (3 if quick else 1)) for n in SIZES[: 1 if quick else 2]]
    if not comm.is_root:
        return
    print(f"ms, medians of interleaved rounds, {comm.size} ranks")
    print("  ".join(f"{key:>15}" for key in found[0]))
    for row in found:
        print("  ".join(f"{value:15.2f}" for value in row.values()))
    print(f"{before}; numpy {np.__version__}, {comm.library}")


def measure(n: int, rounds: int) -> dict[str, float]:
    """Return the ms of compute and sum of `n` numbers: one after the other, or in buckets."""
    window, end, buckets = (
        comm.summation(n, "f4", HEADER, w) for w in ("window", "allreduce", "buckets")
    )
    a, c = np.ones((256, 256), "f4"), np.zeros((256, 256), "f4")
    calibrated = in_turns(comm, {"sum": end.finish, "product": lambda: np.dot(a, a, out=c)}, 15)
    products = max(1, round(calibrated["sum"] / calibrated["product"] / LAYERS))

    def compute(sum_: Sum | None) -> None:
        for layer in range(1, LAYERS + 1):
            for _ in range(products):
                np.dot(a, a, out=c)
            if sum_:
                sum_.start(n * layer // LAYERS)
        if sum_:
            sum_.finish()

    ways: dict[str, Callable[[], object]] = {
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

    seconds = in_turns(comm, ways, rounds, prepare=prepare)
    return {"MB": n * 4e-6, **{name: s * 1e3 for name, s in seconds.items()}}


def cuts(n: int, bucket: int) -> list[int]:
    """Return the ends of buckets of at least `bucket` numbers, each the end of a layer."""
    ends = [0]
    for layer in range(1, LAYERS + 1):
        if n * layer // LAYERS - ends[-1] >= bucket:
            ends.append(n * layer // LAYERS)
    return ends[1:]


if __name__ == "__main__":
    main()
