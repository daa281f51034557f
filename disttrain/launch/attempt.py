"""One start of mpirun: waiting for its end, passing on signals, judging how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

from disttrain.launch.leftovers import kill
from disttrain.launch.relay import Relay
from disttrain.launch.run_mark import RunMark
from disttrain.launch.signs import Signs
from disttrain.launch.watchdog import Watchdog
from disttrain.preemption import ASKED, say_killed

__all__ = ["LOST", "PREEMPTED", "Asked", "Ending", "die_with_parent", "judge", "run"]

# Codes that are unambiguous; 1 is also mpirun's for a rank that left early with 0.
DOCUMENTED = (2, 3, 4, 5, 75)
LOST, PREEMPTED, INTERRUPTED = 5, 75, 130
# "A daemon failed to report back": no rank has started.
UNREPORTED = 213
# Statuses of mpirun, or a rank, that USR1 killed before its handler was set.
UNHEARD = (-signal.SIGUSR1, signal.SIGUSR1, 128 + signal.SIGUSR1)
LAST_SIGNAL = 31
PR_SET_PDEATHSIG = 1
# Seconds in which a launcher that has just been started may miss a signal: MPICH's does.
DEAF = 0.25
# Seconds between two looks at whether a signal has come; of a wait for mpirun.
NAP, TURN = 0.1, 1.0


class Ending(NamedTuple):
    """How an attempt ended: the exit code, and a sentence where the ranks could not say one.

    `hopeless` where mpirun itself refused: it would again.
    """

    code: int
    sentence: str = ""
    hopeless: bool = False


class Asked:
    """The signals that people and schedulers sent to this launch, passed on to the ranks.

    For a program that `saves` when it is asked to, TERM, HUP, USR1 and the first INT reach all
    ranks as USR1, and only a second INT, or QUIT, kills; any other is ended by the first.
    """

    def __init__(self, mark: str, saves: bool, trains: bool = False) -> None:
        self._mark, self._saves, self._trains = mark, saves, trains
        self._job: subprocess.Popen[bytes] | None = None
        self.signal: signal.Signals | None = None
        self.killed = False

    def listen(self) -> None:
        """Take these signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, self._take)
        # Under nohup the terminal may be closed.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._take)
        if ASKED.signal:
            # It came before the handlers were set.
            self._take(signal.Signals[ASKED.signal], None)

    def pass_on_to(self, job: subprocess.Popen[bytes] | None) -> None:
        """Pass signals on to `job` from now on, also one that came before."""
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
        """Wait for `seconds`, or until a signal comes.

        In short naps: a lock of an event could be held by the very line that a signal interrupts.
        """
        end = time.monotonic() + seconds
        while self.signal is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, NAP))

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.signal == signal.SIGINT
        self.signal = signal.Signals(number)
        if again or number == signal.SIGQUIT or not self._saves:
            if again and self._saves and not self.killed:
                say_killed() if self._trains else say_killed("")
            self.killed = True
            if self._job:
                self._job.kill()
            kill(self._mark)
        elif self._job:
            self._job.send_signal(signal.SIGUSR1)

    def unread(self) -> None:
        """Have a training save and end whose lines nobody reads any more, as in `... | head`."""
        if self._trains and self.signal is None:
            self._take(signal.SIGPIPE, None)


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    asked: Asked,
    watch: Callable[[subprocess.Popen[bytes]], Watchdog],
) -> tuple[int, str]:
    """Start mpirun, wait for it, return its exit status, and why `watch` killed it, if it did.

    Once it is started again, where it could not start its daemons: that happens once in many
    hundred times.
    """
    for once_more in (True, False):
        relay = Relay(asked.unread)
        job = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=relay.output,
            stderr=relay.error,
            env=environment,
            # A terminal's Ctrl-C must reach this process alone, which turns it into USR1.
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        relay.start(job)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(DEAF)
        asked.pass_on_to(job)
        watchdog = watch(job)
        watchdog.start()
        code = _wait_for(job)
        relay.finish()
        asked.pass_on_to(None)
        if not (once_more and code == UNREPORTED and asked.signal is None):
            break
    return code, watchdog.why


def _wait_for(job: subprocess.Popen[bytes]) -> int:
    """Return the status of `job` at its end.

    In turns: a signal that came while this process was stopped may be given to another thread,
    and what is to be done about it is done here, when this one wakes up.
    """
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return job.wait(TURN)


def judge(
    code: int, signs: Signs, mark: RunMark | None, asked: Asked, why: str = "", own: bool = True
) -> Ending:
    """Return the ending that the ranks reported, or else what the launcher's status can mean.

    `why` is the reason for which mpirun was killed. A program that is not disttrain's `own` has
    the exit code that it has, unless a signal ended it.
    """
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
    if why:
        return Ending(LOST, why)
    if not own and asked.signal and code in UNHEARD:
        return Ending(PREEMPTED, f"asked to stop ({asked.signal.name}): USR1 ended the program")
    if not own and 0 <= code <= 128:
        return Ending(code)
    if code in DOCUMENTED or (code == 0 and not mark and not signs.path):
        return Ending(code)
    how = f"signal {code - 128}" if 128 < code <= 128 + LAST_SIGNAL else f"status {code}"
    if code == 128 + signal.SIGBUS:
        how += ", as where /dev/shm is full"
    if code == -signal.SIGKILL:
        how = "did not end"
    if unmet:
        words = f"the ranks did not all start and find each other (mpirun: {how})"
        return Ending(LOST, words, hopeless=0 < code < 128 and code != UNREPORTED)
    return Ending(
        LOST,
        f"the ranks ended without an exit code (mpirun: {how}): one of them was killed or died",
    )


def die_with_parent() -> None:
    """Let the kernel end mpirun (which then ends the ranks) when this process is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
