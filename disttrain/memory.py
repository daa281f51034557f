"""How much memory this process can take, and what it gives back. Standard library only."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["free_memory", "give_back"]

# Files with the memory limit of a container or a batch job, and its use: cgroup v2, then v1.
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> float:
    """Return the bytes that are free on this host, for all its processes together."""
    return min([_of_host(), *(limit - used for limit, used in map(_both, LIMITS))])


def give_back() -> None:
    """Give the system the memory that was freed and that the C library keeps for later.

    That is twice the parameters and more after a network is built and its arithmetic probed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc
        trim(0)


def _of_host() -> float:
    try:
        with open("/proc/meminfo") as meminfo:
            lines = (line.split() for line in meminfo if line.startswith("MemAvailable"))
            return 1024.0 * next(int(words[1]) for words in lines)
    except (OSError, StopIteration, ValueError):
        return float(os.sysconf("SC_AVPHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")


def _both(paths: tuple[str, str]) -> tuple[float, float]:
    try:
        limit, used = (float(Path(path).read_text()) for path in paths)
    except (OSError, ValueError):
        # No such file, or "max": no limit.
        return float("inf"), 0.0
    return limit, used
