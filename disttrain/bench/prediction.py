"""What a step takes on more ranks than are here, from what was measured on a few.

    step(N, B) = compute(B / N) + sum(N, B)

`compute(rows)` is a whole step of one rank, measured for some numbers of rows. The sum of a message
of m bytes takes the less of a ring and of recursive halving and doubling (Thakur, Rabenseifner and
Gropp, Optimization of collective communication operations in MPICH, 2005):

    ring      2 (N-1) latency + 2 (N-1)/N m / bandwidth
    halving   2 log2(N) latency + 2 (N-1)/N m / bandwidth

Where ranks share the factors of products (exact mode), s bytes a sample, each rank sends its rows
of these and of the gradients to all, without turns, after a word from each receiver:

    products  4 latency + (N-1)/N (B s + m) / bandwidth
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from disttrain.bench.sums import Link

__all__ = ["EFFICIENT", "Machine", "Predicted", "predict"]

# The best batch of N ranks is the smallest of this efficiency.
EFFICIENT = 0.8
LARGEST_BATCH = 1 << 24


@dataclass(frozen=True)
class Machine:
    """One rank's seconds of a step by its rows, the message in bytes, and the link of two ranks.

    `shared` are the bytes of a sample's inputs and gradients, where these are sent; else 0.
    """

    compute: Mapping[int, float]
    message: int
    link: Link
    shared: int = 0

    def compute_time(self, rows: float) -> float:
        """Return the seconds of a step of `rows` rows: on a line between the measured ones.

        Beyond the last it goes on as between the last two. Below one row nothing gets shorter.
        """
        known = sorted(self.compute)
        rows = max(rows, known[0])
        above = min(max(bisect_left(known, rows), 1), len(known) - 1)
        if len(known) == 1:
            return self.compute[known[0]] * rows / known[0]
        low, high = known[above - 1], known[above]
        slope = (self.compute[high] - self.compute[low]) / (high - low)
        return self.compute[low] + max(slope, 0.0) * (rows - low)

    def sum_time(self, ranks: int, batch: int) -> float:
        """Return the seconds of the sum over `ranks` ranks for a batch of `batch` samples."""
        if ranks == 1:
            return 0.0
        if self.shared:
            sent = (ranks - 1) / ranks * (batch * self.shared + self.message)
            return 4 * self.link.latency + sent / self.link.bandwidth
        messages = min(ranks - 1, math.ceil(math.log2(ranks)))
        sent = 2 * (ranks - 1) / ranks * self.message
        return 2 * messages * self.link.latency + sent / self.link.bandwidth

    def step_time(self, ranks: int, batch: int) -> float:
        """Return the seconds of a step of `batch` samples on `ranks` ranks."""
        return self.compute_time(batch / ranks) + self.sum_time(ranks, batch)

    def efficiency(self, ranks: int, batch: int) -> float:
        """Return the time of one rank over that of `ranks` ranks together."""
        return self.compute_time(batch) / (ranks * self.step_time(ranks, batch))

    def best_batch(self, ranks: int) -> int | None:
        """Return the smallest batch, a power of 2, of efficiency EFFICIENT; None where none is."""
        batch = 1 << max(ranks - 1, 0).bit_length()
        while batch <= LARGEST_BATCH:
            if self.efficiency(ranks, batch) >= EFFICIENT:
                return batch
            batch *= 2
        return None


@dataclass(frozen=True)
class Predicted:
    """One row of the table: seconds of a step, samples a second, efficiency, the best batch."""

    ranks: int
    seconds: float
    samples_per_second: float
    efficiency: float
    best_batch: int | None


def predict(machine: Machine, batch: int, ranks: Sequence[int]) -> list[Predicted]:
    """Return what steps of `batch` samples take on each number of ranks."""
    rows = []
    for count in ranks:
        seconds = machine.step_time(count, batch)
        rows.append(
            Predicted(
                count, seconds, batch / seconds, machine.efficiency(count, batch),
                machine.best_batch(count),
            )
        )  # fmt: skip
    return rows
