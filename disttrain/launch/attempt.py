"""One start of mpirun, from its first process to its last, and what became of it."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from disttrain.environment import MET
from disttrain.launch.leftovers import kill
from disttrain.launch.run_mark import RunMark

__all__ = ["LOST", "PREEMPTED", "Asked", "Ending", "Signs", "judge", "run"]

# Codes that mean what they say; 1 is also what mpirun gives for a rank that left with 0.
DOCUMENTED = (2, 3, 4, 5, 75)
LOST, PREEMPTED, INTERRUPTED = 5, 75, 130
# "A daemon failed to report back": no rank has started.
UNREPORTED = 213
# What is left of mpirun, or of a rank under it, when USR1 comes before anybody listens.
UNHEARD = (-signal.SIGUSR1, signal.SIGUSR1, 128 + signal.SIGUSR1)
LAST_SIGNAL = 31
PR_SET_PDEATHSIG = 1
# Seconds in which a launcher that has just been started may miss a signal: MPICH's does.
DEAF = 0.25
# Seconds that mpirun may take to end once its ranks have, and between two looks.
PATIENCE, LOOK = 10.0, 1.0
# Seconds between two looks at whether a signal has come.
NAP = 0.1


class Ending(NamedTuple):
    """How an attempt ended: the exit code, and a sentence where the ranks could not say one."""

    code: int
    sentence: str = ""


class Signs:
    """What the ranks of one attempt leave in `folder`: that they have met, and the exit code.

    A file for each attempt: a rank of an earlier one, on a host that comes back, changes nothing.
    Without a folder that all hosts see there are none.
    """

    def __init__(self, folder: Path | None, number: int = 1) -> None:
        self.path = folder / f"status-{number}" if folder else None

    def can_come(self) -> bool:
        """Return True where there is a place for them."""
        return self.path is not None and self.path.parent.is_dir()

    def met(self) -> bool:
        """Return True where all ranks have found each other."""
        return self.path is not None and Path(f"{self.path}{MET}").exists()

    def code(self) -> int | None:
        """Return the exit code that a rank has left, None where none has."""
        try:
            return int(self.path.read_text()) if self.path else None
        except (OSError, ValueError):
            return None


class Asked:
    """What people and schedulers asked of this launch by signals, passed on to the ranks.

    For a program that `saves` when it is asked to, TERM, HUP, USR1 and the first INT reach all
    ranks as USR1, and only a second INT, or QUIT, kills; any other is ended by the first.
    """

    def __init__(self, mark: str, saves: bool) -> None:
        self._mark, self._saves = mark, saves
        self._job: subprocess.Popen[bytes] | None = None
        self.signal: signal.Signals | None = None
        self.killed = False

    def listen(self) -> None:
        """Take these signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, self._take)
        # Under nohup the terminal may go.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._take)

    def pass_on_to(self, job: subprocess.Popen[bytes] | None) -> None:
        """Pass signals on to `job` from now on, one that has come already too."""
        self._job = job
        if job and self.killed:
            job.kill()
        elif job and self.signal:
            job.send_signal(signal.SIGUSR1)

    def ending(self, when: str) -> Ending:
        """Return how a launch ends that was asked to stop while no rank was there."""
        name = self.signal.name if self.signal else ""
        if self.killed:
            return Ending(INTERRUPTED)
        return Ending(PREEMPTED, f"asked to stop ({name}) {when}: nothing was changed")

    def sleep(self, seconds: float) -> None:
        """Wait, no longer than until a signal comes.

        In short naps: a lock of an event could be held by the very line that a signal interrupts.
        """
        end = time.monotonic() + seconds
        while self.signal is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, NAP))

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.signal == signal.SIGINT
        self.signal = signal.Signals(number)
        if again or number == signal.SIGQUIT or not self._saves:
            self.killed = True
            if self._job:
                self._job.kill()
            kill(self._mark)
        elif self._job:
            self._job.send_signal(signal.SIGUSR1)


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    signs: Signs,
    asked: Asked,
    starting: float,
    has_ranks: Callable[[], bool] | None = None,
) -> int:
    """Start mpirun, wait for it, and return its exit status.

    It is killed where the ranks have not met after `starting` seconds, and where it stays longer
    than they do: it waits for hosts that have gone. `has_ranks` says whether this host has any,
    where that is needed. Once it is started again, where it could not start its daemons: that
    happens once in many hundred times.
    """
    for once_more in (True, False):
        job = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=environment,
            # A terminal's Ctrl-C must reach this process alone, which turns it into USR1.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(DEAF)
        asked.pass_on_to(job)
        watch = threading.Thread(target=_end_if_forgotten, args=(job, signs, starting, has_ranks))
        watch.daemon = True
        watch.start()
        code = job.wait()
        asked.pass_on_to(None)
        if not (once_more and code == UNREPORTED and asked.signal is None):
            break
    return code


def judge(code: int, signs: Signs, mark: RunMark | None, asked: Asked) -> Ending:
    """Return what the ranks say, where they could; else what the launcher's status can mean."""
    if asked.killed:
        return Ending(INTERRUPTED)
    said = signs.code()
    if said is None and mark:
        said = mark.code()
    if said is not None:
        return Ending(said)
    unmet = signs.can_come() and not signs.met()
    if asked.signal and (unmet or code in UNHEARD):
        return asked.ending("before the ranks were ready")
    if code in DOCUMENTED or (code == 0 and not mark and not signs.path):
        return Ending(code)
    how = f"signal {code - 128}" if 128 < code <= 128 + LAST_SIGNAL else f"status {code}"
    if code == -signal.SIGKILL:
        how = "did not end"
    if unmet:
        return Ending(LOST, f"the ranks did not all start and find each other (mpirun: {how})")
    return Ending(
        LOST,
        f"the ranks ended without saying how (mpirun: {how}): one of them was killed or died",
    )


def _end_if_forgotten(
    job: subprocess.Popen[bytes],
    signs: Signs,
    starting: float,
    has_ranks: Callable[[], bool] | None,
) -> None:
    """Kill mpirun where its ranks never meet, or where it does not end although they have."""
    end, over, seen, met = time.monotonic() + starting, 0.0, False, False
    while job.poll() is None:
        time.sleep(LOOK)
        here, now = has_ranks is not None and has_ranks(), time.monotonic()
        seen, met, ended = seen or here, met or signs.met(), signs.code() is not None
        # Somebody may have removed the folder of the signs: that is no sign either.
        if now > end and not (ended or met) and signs.can_come():
            job.kill()
        elif not ended and (here or not seen):
            over = 0.0
        elif not over:
            over = now
        elif now - over > PATIENCE:
            job.kill()


def _die_with_parent() -> None:
    """Have the kernel end mpirun (which then ends the ranks) when this process is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
