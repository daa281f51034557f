"""Measuring processes that answer over pipes, so that several can be measured in turns.

One line of JSON in, one line of JSON out. Standard library only: it is also imported by
interpreters that have nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["ONE_THREAD", "Worker", "machine", "medians", "requests", "serve"]

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA")
SETTLE = 0.005  # seconds
ONE_THREAD = dict.fromkeys((f"{name}_NUM_THREADS" for name in LIBRARIES), "1")


class Worker:
    """A child process that serves requests until `close`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._child = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, **(environment or {})},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to `request`; raise RuntimeError where the child ended instead."""
        self.tell(**request)
        return self.told()

    def tell(self, **request: Any) -> None:
        """Send `request`; the answer is to be read by `told`."""
        assert self._child.stdin
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass

    def told(self) -> dict[str, Any]:
        """Return the next answer; raise RuntimeError where the child ended instead."""
        assert self._child.stdout
        for line in self._child.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the worker ended with code {self._child.wait()}, see above")

    def seconds(self, steps: int, **request: Any) -> float:
        """Return the time of one of `steps` steps."""
        return float(self.ask(steps=steps, **request)["seconds"]) / steps

    def close(self) -> None:
        """Let the child end."""
        assert self._child.stdin
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()


def requests() -> Iterator[dict[str, Any]]:
    """Yield what the parent asks, until it closes the pipe."""
    for line in sys.stdin:
        yield json.loads(line)


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until the parent closes the pipe."""
    for request in requests():
        print(json.dumps(answer(request)), flush=True)


def medians(
    ways: dict[str, Callable[[int], float]], rounds: int, target: float
) -> dict[str, float]:
    """Return for each way the median time of a step, over rounds in which each has its turn.

    A way is a function that does so many steps and returns the time of one. A turn lasts about
    `target` seconds, after a few steps that are not counted: threads of the way before (OpenMP's
    spin for a while after their work) have gone to sleep by then, and its data are in the caches.
    """
    counts = {}
    for name, way in ways.items():
        way(1)
        least = min(way(1), way(2))
        counts[name] = max(1, round(target / least))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(SETTLE)
            way(1 + counts[name] // 4)
            times[name].append(way(counts[name]))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def machine() -> str:
    """Return the processor, the cores this process may use, and what else ran before it."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(x.split(":", 1)[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, load average before the run {os.getloadavg()[0]:.1f}"
