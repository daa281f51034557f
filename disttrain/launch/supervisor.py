"""Starts `mpirun`, passes signals on, leaves nothing running, and says how the run really ended.

`mpirun`'s exit status is no evidence: it is 0 after many deaths. What counts is the code that
rank 0 leaves in a status file and, for a training, `summary.json`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from disttrain.environment import MARK, STATUS, TERMINAL
from disttrain.errors import LostRanks, Preempted
from disttrain.launch.mpirun import Launcher

__all__ = ["supervise"]

# Codes that mean what they say; 1 is also what mpirun gives for a rank that left with 0.
DOCUMENTED = (2, 3, 4, 5, 75)
INTERRUPTED = 130
# What is left of mpirun, or of a rank under it, when USR1 comes before anybody listens.
UNHEARD = (-signal.SIGUSR1, 128 + signal.SIGUSR1)
PR_SET_PDEATHSIG = 1


def supervise(
    launcher: Launcher, ranks: int, program: Sequence[str], watched: bool, saves: bool
) -> int:
    """Run `program` on `ranks` ranks and return its exit code: documented, or 130.

    For a program that `saves` when it is asked to, TERM, USR1 and the first INT reach all ranks as
    USR1, and only a second INT kills; any other is ended by the first.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="disttrain-") as folder:
        status = Path(folder) / "status"
        environment = os.environ | launcher.environment(ranks)
        environment |= {MARK: mark, STATUS: str(status), TERMINAL: "1" if watched else "0"}
        if watched:
            environment["COLUMNS"] = str(shutil.get_terminal_size().columns)
        job = subprocess.Popen(
            launcher.command(ranks, program),
            stdin=subprocess.DEVNULL,
            env=environment,
            # A terminal's Ctrl-C must reach this process alone, which turns it into USR1.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        asked = Asked(job, mark, saves)
        asked.listen()
        code = job.wait()
        kill_marked(mark)
        return judge(code, status, asked)


class Asked:
    """What people and schedulers asked of this job by signals, passed on to the ranks."""

    def __init__(self, job: subprocess.Popen[bytes], mark: str, saves: bool) -> None:
        self._job, self._mark, self._saves = job, mark, saves
        self.signal: signal.Signals | None = None
        self.killed = False

    def listen(self) -> None:
        """Take INT, TERM and USR1 from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.signal == signal.SIGINT
        self.signal = signal.Signals(number)
        if again or not self._saves:
            self.killed = True
            self._job.kill()
            kill_marked(self._mark)
        elif self._job.poll() is None:
            self._job.send_signal(signal.SIGUSR1)


def judge(code: int, status: Path, asked: Asked) -> int:
    """Return what the ranks say, where they could; else what the launcher's status can mean."""
    if asked.killed:
        return INTERRUPTED
    try:
        return int(status.read_text())
    except (OSError, ValueError):
        pass
    if asked.signal and code in UNHEARD:
        raise Preempted(
            f"asked to stop ({asked.signal.name}) before the ranks were ready: nothing was changed"
        )
    if code in DOCUMENTED:
        return code
    how = f"signal {code - 128}" if 128 < code <= 128 + 64 else f"status {code}"
    raise LostRanks(
        f"the ranks ended without saying how (mpirun: {how}): one of them was killed or died; "
        "a training goes on from its newest checkpoint with --resume"
    )


def kill_marked(mark: str) -> None:
    """Kill every process on this host that was started by the launch called `mark`."""
    needle = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if needle in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except (OSError, ValueError):
            # It ended meanwhile, or belongs to somebody else.
            continue


def _die_with_parent() -> None:
    """Have the kernel end mpirun (which then ends the ranks) when this process is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
