"""Processes that a signal has stopped (SIGSTOP, not a debugger), and the limit of time for them.

Standard library only: ranks, the supervisor and its sentinel look here.
"""

from __future__ import annotations

import math
import os

from disttrain.errors import LauncherError

__all__ = ["VARIABLE", "bearable", "check", "is_stopped"]

# Seconds after which a stopped process ends its job; 0 is never. Where a scheduler suspends a whole
# job, the process that counts is stopped too, and nothing ends.
VARIABLE, USUAL, LONGEST = "DISTTRAIN_STOPPED_SECONDS", 30.0, 1e7


def bearable() -> float:
    """Return the seconds after which a stopped process ends its job; infinity: never."""
    try:
        seconds = float(os.environ.get(VARIABLE) or USUAL)
    except ValueError:
        return USUAL
    return seconds if 0 < seconds <= LONGEST else math.inf


def check() -> None:
    """Raise LauncherError where the variable holds no time."""
    text = os.environ.get(VARIABLE) or f"{USUAL:g}"
    try:
        good = 0 <= float(text) <= LONGEST
    except ValueError:
        good = False
    if not good:
        raise LauncherError(f"{VARIABLE}={text} is no time: give seconds, as in 60, or 0 for never")


def is_stopped(pid: int) -> bool:
    """Return True where a signal has stopped that process of this host and it has not gone on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it may hold anything, brackets too.
            return file.read().rpartition(b")")[2].split()[:1] == [b"T"]
    except OSError:
        return False
