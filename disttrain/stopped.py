"""Processes that a signal has stopped (SIGSTOP, not a debugger), and the limit of time for them.

Standard library only: ranks, the supervisor and its sentinel look here.
"""

from __future__ import annotations

from disttrain.environment import seconds_in
from disttrain.errors import LauncherError

__all__ = ["VARIABLE", "bearable", "check", "is_stopped"]

# Seconds after which a stopped process ends its job; 0 is never. Where a scheduler suspends a whole
# job, the process that counts is stopped too, and nothing ends.
VARIABLE, USUAL = "DISTTRAIN_STOPPED_SECONDS", 30.0


def check() -> None:
    """Raise LauncherError where the variable holds no time."""
    seconds_in(VARIABLE, USUAL)


def bearable() -> float:
    """Return the seconds after which a stopped process ends its job; infinity: never."""
    try:
        return seconds_in(VARIABLE, USUAL)
    except LauncherError:
        # The launch refuses it; without one, a thread that watches has nobody to tell.
        return USUAL


def is_stopped(pid: int) -> bool:
    """Return True where a signal has stopped that process of this host and it has not gone on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it may hold anything, brackets too.
            return file.read().rpartition(b")")[2].split()[:1] == [b"T"]
    except OSError:
        return False
