"""Variants measured in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

from disttrain.comm import Communicator
from disttrain.environment import cores, processor_name

__all__ = ["in_turns", "machine"]


def in_turns(
    comm: Communicator,
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    turn: float = 0.0,
    prepare: Callable[[str], None] = lambda name: None,
) -> dict[str, float]:
    """Return the seconds of each way: the slowest rank's, the median over rounds. Collective.

    In each round every way has its turn, after `prepare(name)` and a barrier. A turn is one call,
    or as many as take about `turn` seconds. A first round, in which memory is touched and caches
    are filled, does not count.
    """
    calls = {name: _calls(comm, way, turn) if turn else 1 for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            prepare(name)
            comm.barrier()
            begin = time.perf_counter()
            for _ in range(calls[name]):
                way()
            times[name].append((time.perf_counter() - begin) / calls[name])
    return {
        name: statistics.median(max(at) for at in list(zip(*comm.collect(own), strict=True))[1:])
        for name, own in times.items()
    }


def _calls(comm: Communicator, way: Callable[[], object], seconds: float) -> int:
    """Return how many calls of `way` take about `seconds`, alike on all ranks. Collective."""
    way()
    begin = time.perf_counter()
    way()
    taken = max(comm.collect(time.perf_counter() - begin))
    return max(1, round(seconds / max(taken, 1e-9)))


def machine() -> str:
    """Return the processor, the cores of this process, and the load of the minute before."""
    return f"{processor_name()}, {len(cores())} cores, load {os.getloadavg()[0]:.1f} before"
