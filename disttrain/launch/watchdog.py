"""Ends an attempt that would not end by itself, and says why."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from disttrain.launch.leftovers import parent_of
from disttrain.launch.signs import Signs
from disttrain.stopped import bearable, is_stopped

__all__ = ["Watchdog"]

# Seconds between two looks. They are counted, not timed: a scheduler that suspends the whole job
# has stopped this count too.
LOOK = 1.0
# Seconds that mpirun may take to end once its ranks have.
PATIENCE = 10.0
# Seconds in which all ranks of this host are started, one after the other.
STARTED = 5.0
# Seconds between two looks at what costs more: the processes of this host, the signs of life.
SCAN = 5
# Seconds in which the ranks report a stopped one first: they know its phase.
FIRST_WORD = 10.0
# Seconds without a sign of life after which a host counts as standing still. A library that lets
# no other thread of its process run, as in one long read, can cost many.
SILENCE = 120.0


class Watchdog(threading.Thread):
    """Kills `job`, mpirun, in five cases; `why` says which one it was, "" for none.

    The ranks have not met after `starting` seconds; one of the `all_here` ranks of this host has
    ended before they met, and mpirun goes on, as it does with fault tolerance; mpirun does not end
    although its ranks have, because it waits for hosts that have gone; a signal has stopped mpirun
    or a rank here, and it was not continued; the ranks of a host have given signs of life, and do
    not any more.

    `ranks_here` returns the processes of this host that carry the launch's mark as ranks, and
    `elsewhere` says that this host need not have any.
    """

    def __init__(
        self,
        job: subprocess.Popen[bytes],
        signs: Signs,
        starting: float,
        ranks_here: Callable[[], list[int]],
        elsewhere: bool = False,
        all_here: int = 0,
    ) -> None:
        super().__init__(daemon=True)
        self._job, self._signs, self._starting = job, signs, starting
        self._ranks_here, self._elsewhere, self._all_here = ranks_here, elsewhere, all_here
        self._fewer = 0
        self._looks, self._met, self._seen, self._over = 0, False, False, 0
        # Looks since which a process is stopped, and the newest sign of each host with its look.
        self._stopped: dict[int, int] = {}
        self._signs_of: dict[str, tuple[str, int]] = {}
        self.why = ""

    def run(self) -> None:
        """Look until the job is over or has to end."""
        while self._job.poll() is None:
            time.sleep(LOOK)
            self._looks += 1
            ended, self._met = self._signs.code() is not None, self._met or self._signs.met()
            often = self._elsewhere or (self._all_here and not self._met)
            here = self._ranks_here() if often or not self._looks % SCAN else []
            self.why = self._unmet(ended, here) or self._unended(ended, here)
            if not self._looks % SCAN and not ended:
                self.why = self.why or self._standing(here) or self._silent()
            if self.why and self._job.poll() is None:
                self._job.kill()

    def _unmet(self, ended: bool, here: list[int]) -> str:
        # The folder of the signs may have been removed.
        if ended or self._met or not self._signs.can_come():
            return ""
        if self._looks * LOOK > self._starting:
            return f"the ranks did not all start and find each other within {self._starting:g} s"
        ranks = len(_first([pid for pid in here if pid != self._job.pid]))
        self._fewer = self._fewer + 1 if 0 < ranks < self._all_here else 0
        if self._fewer * LOOK > STARTED:
            return f"{self._all_here - ranks} of {self._all_here} ranks ended before all had met"
        return ""

    def _unended(self, ended: bool, here: list[int]) -> str:
        self._seen = self._seen or bool(here)
        if not ended and (here or not self._seen or not self._elsewhere):
            self._over = 0
        elif not self._over:
            self._over = self._looks
        elif (self._looks - self._over) * LOOK > PATIENCE:
            return "mpirun did not end when its ranks had: it waits for hosts that are gone"
        return ""

    def _standing(self, here: list[int]) -> str:
        """Return a sentence for a process here that was stopped by a signal too long ago."""
        stopped = [pid for pid in (self._job.pid, *_first(here)) if is_stopped(pid)]
        self._stopped = {pid: self._stopped.get(pid, self._looks) for pid in stopped}
        for pid, since in self._stopped.items():
            if (self._looks - since) * LOOK > bearable() + FIRST_WORD:
                what = "mpirun" if pid == self._job.pid else "a rank"
                also = f" and {len(stopped) - 1} more" if len(stopped) > 1 else ""
                return (
                    f"a signal stopped {what} (process {pid}){also} over "
                    f"{(self._looks - since) * LOOK:.0f} s ago, and not continued"
                )
        return ""

    def _silent(self) -> str:
        """Return a sentence for a host that gives no signs of life any more."""
        signs = self._signs.of_life()
        old = self._signs_of
        self._signs_of = {
            host: old[host] if host in old and old[host][0] == sign else (sign, self._looks)
            for host, sign in signs.items()
        }
        for host, (_, since) in self._signs_of.items():
            if (self._looks - since) * LOOK > max(SILENCE, bearable()):
                return f"the ranks on {host} have given no sign of life for {SILENCE:g} s"
        return ""


def _first(here: list[int]) -> list[int]:
    """Return the ranks themselves, without the processes that they have started."""
    return [pid for pid in here if parent_of(pid) not in here]
