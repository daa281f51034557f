"""Starts `mpirun`, judges how the run really ended, leaves nothing running, starts it again.

A node that dies always ends `mpirun`, whatever its options. So what is left is killed on every host
that answers, and the training goes on from its newest checkpoint on those.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from disttrain.environment import MARK, STATUS, TERMINAL
from disttrain.errors import LostRanks, Preempted
from disttrain.launch import leftovers
from disttrain.launch.agent import Trouble
from disttrain.launch.attempt import LOST, PREEMPTED, Asked, Ending, judge, run
from disttrain.launch.cluster import Cluster, told
from disttrain.launch.mpirun import Launcher
from disttrain.launch.run_mark import RunMark, resuming

__all__ = ["supervise"]

# Seconds before the first restart, doubled before each further one up to the second number.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# Seconds that a file server may take to give up the lock of a host that is gone (NFS: 90), and
# between two looks at it.
LOCK_WAIT, LOOK = 120.0, 1.0
# What precedes the command's own arguments in a program: interpreter, -m, disttrain, train.
HEAD = 4
A_RANK = b"OMPI_COMM_WORLD_RANK="
GOES_ON = "a training goes on from its newest checkpoint with --resume"


def supervise(
    launcher: Launcher,
    ranks: int,
    program: Sequence[str],
    watched: bool,
    saves: bool,
    restarts: int = 0,
    cluster: Cluster | None = None,
) -> int:
    """Run `program` on `ranks` ranks and return its exit code: documented, or 130.

    `program` is `[python, "-m", "disttrain", command, *arguments]`; one that `saves` is a training.
    It runs on this host, or on the hosts of `cluster`. A training that lost ranks is started again
    up to `restarts` times, with `--resume`, on the hosts that answer. Raises LostRanks where it
    stays lost, Preempted where it was stopped before it began.
    """
    with tempfile.TemporaryDirectory(prefix=".disttrain-", dir=_shared(cluster)) as folder:
        status = Path(folder) / "status"
        launch = Launch(launcher, list(program), watched, saves, status, cluster)
        ending = launch.attempt(ranks)
        for number in range(1, restarts + 1):
            if ending.code != LOST or launch.asked.signal:
                break
            launch.prepare_restart(number, restarts, ranks, ending)
            ending = launch.attempt(ranks)
    return _concluded(ending)


class Launch:
    """A program on its way: which hosts are left, what was asked, what its folder says."""

    def __init__(
        self,
        launcher: Launcher,
        program: list[str],
        watched: bool,
        saves: bool,
        status: Path,
        cluster: Cluster | None,
    ) -> None:
        self._launcher, self._program = launcher, program
        self._watched, self._status, self._cluster = watched, status, cluster
        self._id, self._base = uuid.uuid4().hex, tempfile.gettempdir()
        self._mark, self._first = RunMark(program[HEAD:]) if saves else None, True
        self.asked = Asked(self._id, saves)
        self.asked.listen()

    def attempt(self, ranks: int) -> Ending:
        """Start the program on as many of `ranks` as fit, wait for its end, clean up, judge."""
        self._status.unlink(missing_ok=True)
        if self._mark:
            self._mark.renew()
        missing, code = self._begin(), None
        if not missing and not self.asked.signal:
            code = self._run(self._fitting(ranks))
        gone = missing | self._clean()
        if code is not None:
            ending = judge(code, self._status, self._mark, self.asked)
        elif missing:
            ending = Ending(LOST, "nothing was started")
        else:
            ending = self.asked.ending("before the ranks were started")
        if ending.code == LOST and gone:
            return Ending(LOST, "; ".join(filter(None, [told(gone), ending.sentence])))
        return ending

    def _run(self, ranks: int) -> int:
        """Run mpirun to its end and return its status."""
        environment = os.environ | self._launcher.environment(ranks, self._cluster is None)
        environment |= {MARK: self._id, STATUS: str(self._status)}
        environment[TERMINAL] = "1" if self._watched else "0"
        if self._watched:
            environment["COLUMNS"] = str(shutil.get_terminal_size().columns)
        command = self._launcher.command(
            ranks,
            self._program,
            leftovers.folders(self._id, self._base),
            self._cluster.options(self._id, environment) if self._cluster else None,
        )
        has_ranks = self._has_ranks if self._cluster else None
        return run(command, environment, self._status, self.asked, has_ranks)

    def prepare_restart(self, number: int, of: int, ranks: int, ending: Ending) -> None:
        """Say in one line why and how the run is started again; wait longer each time."""
        resumes = self._mark is not None and (self._mark.began or "--resume" in self._program)
        step = self._mark.newest_step() if self._mark and resumes else None
        if resumes:
            arguments = resuming(self._program[HEAD:])
            self._program = [*self._program[:HEAD], *arguments]
        seconds = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT)
        where = f" on {self._cluster}" if self._cluster else ""
        size = self._fitting(ranks)
        begin = "from the beginning" if step is None else f"after step {step}"
        _say(
            f"{time.strftime('%H:%M:%S')} restart {number} of {of} in {seconds:g} s: "
            f"{ending.sentence or 'the run ended with code 5'}; "
            f"{size} rank{'s' * (size > 1)}{where} {begin}"
        )
        self.asked.sleep(seconds)
        self._await_lock()

    def _await_lock(self) -> None:
        """Wait until the run folder is free: nothing of this launch is left that could hold it."""
        end = time.monotonic() + LOCK_WAIT
        while self._mark and self._mark.in_use():
            if self.asked.signal or time.monotonic() > end:
                # The ranks will say that it is in use.
                return
            self.asked.sleep(LOOK)

    def _fitting(self, ranks: int) -> int:
        return min(ranks, self._cluster.slots) if self._cluster else ranks

    def _has_ranks(self) -> bool:
        return bool(leftovers.marked(self._id, A_RANK))

    def _begin(self) -> dict[str, Trouble]:
        """Make the hosts ready; those that don't answer are left out from now on, and returned."""
        if self._cluster is None:
            leftovers.begin(self._id, self._base)
            return {}
        first, self._first = self._first, False
        return self._without(self._cluster.begin(self._id, self._base, first))

    def _clean(self) -> dict[str, Trouble]:
        """Leave nothing on any host; those that don't answer are left out and returned."""
        if self._cluster is None:
            leftovers.clean(self._id, self._base)
            return {}
        return self._without(self._cluster.clean(self._id, self._base))

    def _without(self, gone: dict[str, Trouble]) -> dict[str, Trouble]:
        self._cluster = self._cluster.without(gone) if self._cluster else None
        return gone


def _concluded(ending: Ending) -> int:
    """Return the exit code, or raise where the ranks could not say what happened."""
    if ending.code == LOST and ending.sentence:
        raise LostRanks(f"{ending.sentence}; {GOES_ON}")
    if ending.code == PREEMPTED and ending.sentence:
        raise Preempted(ending.sentence)
    return ending.code


def _shared(cluster: Cluster | None) -> Path | None:
    """Return a folder that rank 0 can write in wherever it runs; None means any."""
    here = Path.cwd()
    return here if cluster and os.access(here, os.W_OK) else None


def _say(line: str) -> None:
    print(f"disttrain: {line}", file=sys.stderr, flush=True)
