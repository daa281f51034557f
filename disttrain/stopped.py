"""Processes that stand still, as by SIGSTOP, and the limit of time for them.

Standard library only: ranks, the supervisor and its sentinel look here.
"""

from __future__ import annotations

import os

from disttrain.environment import seconds_in
from disttrain.errors import LauncherError

__all__ = ["VARIABLE", "bearable", "catches", "check", "is_gone", "is_stopped"]

# Seconds after which a process that stands still is given up; 0 is never. Where a scheduler
# suspends a whole job, the process that counts is stopped too, and nothing ends.
VARIABLE, USUAL = "DISTTRAIN_STOPPED_SECONDS", 30.0


def check() -> None:
    """Raise LauncherError where the variable holds no time."""
    seconds_in(VARIABLE, USUAL)


def bearable() -> float:
    """Return the seconds after which such a process is given up; infinity: never."""
    try:
        return seconds_in(VARIABLE, USUAL)
    except LauncherError:
        # The launch refuses it; without one, a thread that watches has nobody to tell.
        return USUAL


def is_stopped(pid: int) -> bool:
    """Return True where a signal has stopped that process of this host and it has not gone on."""
    return _state(pid) == b"T"


def is_gone(pid: int) -> bool:
    """Return True where that process of this host has ended."""
    return _state(pid) in (b"", b"X", b"Z") and _state(os.getpid()) != b""


def _state(pid: int) -> bytes:
    """Return the kernel's letter for what a process does, nothing where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it may hold anything, brackets too.
            return file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""


def catches(pid: int, number: int) -> bool:
    """Return True where that process runs, and has a handler for the signal."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        return bool(int(facts["SigCgt"], 16) >> number - 1 & 1) and not is_stopped(pid)
    except (OSError, KeyError, ValueError):
        return False
