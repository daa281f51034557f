"""How fast each way adds a message over the ranks, beside what the bandwidth allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from disttrain.bench.turns import in_turns
from disttrain.comm import Communicator

__all__ = ["SIZES", "WAYS", "Link", "SumTimes", "link", "measure"]

# Float32 numbers of a message.
SIZES = (10**5, 10**6, 10**7)
WAYS = ("window", "allreduce", "buckets", "ring")
HEADER = 5
ROUNDS = {10**5: 60, 10**6: 30, 10**7: 9}
LATENCY_ROUNDS, BANDWIDTH_ROUNDS = 60, 9


@dataclass(frozen=True)
class SumTimes:
    """Seconds of the slowest rank for each way to add one message of `bytes`.

    `passed` is the seconds in which each rank passes such a message on to the next one, all at
    once; `copied` those of a copy in memory by all ranks at once.
    """

    ranks: int
    bytes: int
    seconds: dict[str, float]
    passed: float
    copied: float

    def bus_bandwidth(self, way: str) -> float:
        """Return what each rank would have to send for the best sum by messages, bytes a second.

        2(N-1)/N * bytes / seconds, as in NCCL's tests.
        """
        return 2 * (self.ranks - 1) / self.ranks * self.bytes / self.seconds[way]

    def share(self, way: str) -> float:
        """Return the least time that the bandwidth allows over the time taken.

        By messages 2(N-1)/N times a message passed on. In the window each rank reads its slice of
        N messages and writes it once, (N+1)/N * bytes, at the speed of a copy (read and written).
        """
        n = self.ranks
        least = (n + 1) / n * self.copied / 2 if way == "window" else 2 * (n - 1) / n * self.passed
        return least / self.seconds[way]


@dataclass(frozen=True)
class Link:
    """Between two ranks: seconds of the shortest message, and bytes a second of long ones."""

    latency: float
    bandwidth: float


def measure(comm: Communicator, length: int, rounds: int = 0) -> SumTimes:
    """Return the times of all ways for `length` float32 numbers. Collective."""
    sums = {way: comm.summation(length, "f4", HEADER, way) for way in WAYS}
    # A way that can't be had here is replaced by another: it is left out.
    sums = {way: sum_ for way, sum_ in sums.items() if sum_.way.startswith(way)}
    out, into = np.ones(length, "f4"), np.zeros(length, "f4")
    ways: dict[str, Callable[[], object]] = {way: sum_.finish for way, sum_ in sums.items()}
    ways["passed"] = lambda: comm.pass_on(out, into)
    ways["copied"] = lambda: np.copyto(into, out)

    def _prepare(name: str) -> None:
        (sums[name].message if name in sums else out)[:] = 1

    seconds = in_turns(comm, ways, rounds or ROUNDS.get(length, 9), prepare=_prepare)
    return SumTimes(
        comm.size, 4 * length, seconds, seconds.pop("passed"), seconds.pop("copied")
    )  # fmt: skip


def link(comm: Communicator, size: int) -> Link:
    """Return latency and bandwidth, for messages of `size` bytes passed round all ranks at once.

    Collective.
    """
    short, long = np.zeros(1), np.zeros(max(size // 8, 1))
    back = [np.empty_like(short), np.empty_like(long)]
    times = in_turns(comm, {"short": lambda: comm.pass_on(short, back[0])}, LATENCY_ROUNDS)
    times |= in_turns(comm, {"long": lambda: comm.pass_on(long, back[1])}, BANDWIDTH_ROUNDS)
    return Link(times["short"], long.nbytes / max(times["long"] - times["short"], 1e-9))
