"""Sees to it that there is an answer: the work is done in a child, this process waits for it.

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

from disttrain.launch.doctor.finding import Finding
from disttrain.launch.doctor.interfaces import Network

__all__ = ["LIMIT", "attend", "no_answer"]

# Seconds for everything; what works takes one or two. Then for ending, when all is said.
LIMIT = 30.0
FAREWELL = 5.0
DONE = "done"
CURE = (
    "between hosts, export OMPI_MCA_btl_tcp_if_include={network}; if that is not it, run "
    "`disttrain doctor` alone on each host, then `disttrain launch -n 2 doctor`"
)
PR_SET_PDEATHSIG = 1


def attend(seconds: float, say: Callable[[str], None]) -> Callable[[str], None] | None:
    """Go on in a child; return there a function that tells the stage of the work, "done" at last.

    In this process, return None when the child has ended. Where it ended otherwise than it should,
    or has not after `seconds`, it is killed, and `say` is told the stage and how it ended.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _die_with(parent)
        return lambda stage: _write(writer, stage)
    os.close(writer)
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        """Take a request to end."""
        asked.append(number)

    # mpirun ends the other ranks when one dies: time to say so.
    before = signal.signal(signal.SIGTERM, end)
    try:
        stage, how = _wait(child, reader, seconds, asked)
    finally:
        os.close(reader)
        signal.signal(signal.SIGTERM, before)
    if how and stage != DONE:
        say(f"{stage or 'starting'}: {how}")
    return None


def no_answer(how: str, network: Network) -> Finding:
    """Return the finding that MPI gave no answer; `network` is that of this host."""
    if network.bridges and network.outward and not network.chosen:
        names = ", ".join(interface.name for interface in network.bridges)
        how += f" (it may have taken {names} for the way to other hosts)"
    cure = CURE.format(network=next(iter(network.outward), "NETWORK"))
    return Finding("no-answer", "problem", how, cure)


def _wait(child: int, reader: int, seconds: float, asked: list[int]) -> tuple[str, str]:
    """Wait for the child; return its last stage, and how it ended, nothing for as it should."""
    told, end = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reader], [], [], 0.05)
        part = os.read(reader, 4096) if ready else None
        told += part or b""
        stage = told.decode().rstrip("\n").rpartition("\n")[2]
        if part and stage == DONE:
            end = min(end, time.monotonic() + FAREWELL)
        late = time.monotonic() > end
        if late or asked:
            os.kill(child, signal.SIGKILL)
        if part == b"" or late or asked:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            break
    if late:
        return stage, f"not over after {seconds:g} s"
    if asked:
        return stage, "the launcher has ended the job, as it does when another rank died"
    if status < 0:
        return stage, f"the process died by {signal.Signals(-status).name}"
    return stage, f"the process ended with status {status}" if status else ""


def _write(writer: int, stage: str) -> None:
    os.write(writer, f"{stage}\n".encode())


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
