"""Guarantees an answer in time: a child does the work, this process waits for it.

MPI that starts can hang or abort inside C, where no thread of Python and no `except` gets a turn.
Standard library only: the child is made before numpy and MPI have threads.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from disttrain.launch.doctor.silence import Silence

__all__ = ["attend"]

# Seconds for the end of the child.
FAREWELL = 5.0
DONE = "done"
PR_SET_PDEATHSIG = 1


def attend(seconds: float, say: Callable[[Silence], None]) -> Callable[[str], None] | None:
    """Go on in a child; return there a function that tells the stage of the work, "done" at last.

    In this process, return None when the child has ended. Where it ended otherwise than it should,
    or has not after `seconds`, it is killed, and `say` gets the stage and how it ended. TERM may
    be blocked until here: it is let through.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _die_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return lambda stage: _write(writer, stage)
    os.close(writer)
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        """Take a request to end."""
        asked.append(number)

    # mpirun ends the other ranks when one dies: time to say so.
    before = signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    try:
        silence = _wait(child, reader, seconds, asked)
        if silence and silence.stage != DONE:
            say(silence)
    finally:
        os.close(reader)
        signal.signal(signal.SIGTERM, before)
    return None


def _wait(child: int, reader: int, seconds: float, asked: list[int]) -> Silence | None:
    """Wait for the child; return how it ended, None where that is as it should."""
    output, end = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reader], [], [], 0.05)
        part = os.read(reader, 4096) if ready else None
        output += part or b""
        stage = output.decode().rstrip("\n").rpartition("\n")[2]
        if part and stage == DONE:
            end = min(end, time.monotonic() + FAREWELL)
        late = time.monotonic() > end
        if late or asked:
            os.kill(child, signal.SIGKILL)
        if part == b"" or late or asked:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            break
    if late:
        return Silence(stage, "late", f"not over after {seconds:g} s")
    # A launcher that signals the whole group reaches the child first.
    if asked or status == -signal.SIGTERM:
        return Silence(stage, "ended", "the launcher has ended the job, as when another rank dies")
    if status < 0:
        return Silence(stage, "died", f"the process died by {signal.Signals(-status).name}")
    return Silence(stage, "died", f"the process ended with status {status}") if status else None


def _write(writer: int, stage: str) -> None:
    os.write(writer, f"{stage}\n".encode())


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
