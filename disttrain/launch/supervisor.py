"""Starts `mpirun`, judges how the run really ended, leaves nothing running, starts it again.

A node that dies always ends `mpirun`, whatever its options. So what is left is killed on every host
that answers, and the training goes on from its newest checkpoint on those.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from disttrain.environment import MARK, SPARES, STATUS, TERMINAL, seconds_in
from disttrain.errors import LostRanks, Preempted, UsageError
from disttrain.launch import leftovers
from disttrain.launch.agent import Trouble
from disttrain.launch.attempt import LOST, PREEMPTED, Asked, Ending, judge, run
from disttrain.launch.cluster import Cluster, sentence_on
from disttrain.launch.mpirun import Launcher
from disttrain.launch.run_mark import RunMark, resuming
from disttrain.launch.sentinel import Sentinel
from disttrain.launch.signs import FolderOfSigns, Signs
from disttrain.launch.watchdog import Watchdog
from disttrain.shown import shown

__all__ = ["Kind", "supervise"]

Kind = Literal["training", "command", "program"]

# Seconds before the first restart, doubled before each further one up to the second number.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# Seconds that a file server may take to give up the lock of a host that is gone (NFS: 90), and
# between two looks at it.
LOCK_WAIT, LOOK = 120.0, 1.0
# Seconds until all ranks are at MPI's start: daemons by ssh, Python from a slow file system. What
# they may then take to find each other is in CONNECT_SECONDS.
STARTING, CONNECTING, CONNECT_SECONDS = 180.0, 300.0, "DISTTRAIN_CONNECT_SECONDS"
# Seconds that cleaning up may take after the second request to end.
HURRIED = 5.0
# What precedes the command's own arguments in a program: interpreter, -m, disttrain, train.
HEAD = 4
GOES_ON = "a training goes on from its newest checkpoint with --resume"


def supervise(
    launcher: Launcher,
    ranks: int,
    program: Sequence[str],
    watched: bool,
    kind: Kind,
    restarts: int = 0,
    cluster: Cluster | None = None,
    survives: bool = False,
    spares: int = 0,
) -> int:
    """Run `program` on `ranks` ranks and return its exit code: documented, or 130.

    `program` is `[python, "-m", "disttrain", command, *arguments]`, a "training" or another
    "command", or any "program" of the user's. It runs on this host, or on the hosts of `cluster`.
    One that lost ranks is started again up to `restarts` times, a training with `--resume`, on the
    hosts that answer. Where it `survives`, the job itself goes on without a rank that died,
    and with one of `spares` further ranks in its place. Raises
    LostRanks where it stays lost, Preempted where it was stopped before it began, UsageError where
    it can't be.
    """
    launch = Launch(launcher, list(program), watched, kind, cluster, survives, spares)
    try:
        ending = launch.attempt(ranks)
        for number in range(1, restarts + 1):
            if ending.code != LOST or ending.hopeless or launch.asked.signal:
                break
            hindrance = launch.prepare_restart(number, restarts, ranks, ending)
            ending = hindrance or launch.attempt(ranks)
    finally:
        launch.close()
    return _concluded(ending, kind == "training")


class Launch:
    """A launch under way: the hosts that are left, the signals that came, the run folder."""

    def __init__(
        self,
        launcher: Launcher,
        program: list[str],
        watched: bool,
        kind: Kind,
        cluster: Cluster | None,
        survives: bool,
        spares: int,
    ) -> None:
        self._survives, self._spares = survives, spares
        self._launcher, self._program = launcher, program
        self._watched, self._cluster, self._kind = watched, cluster, kind
        self._id, self._base = uuid.uuid4().hex, tempfile.gettempdir()
        self._mark = RunMark(program[HEAD:], program[HEAD - 1]) if kind == "training" else None
        self._signs = FolderOfSigns(_places_of_signs(self._mark, cluster))
        self._folder = self._signs.path
        self._attempts, self._gone = 0, dict[str, Trouble]()
        self.asked = Asked(self._id, kind != "command", kind == "training")
        self.asked.listen()
        self._sentinel = Sentinel(self._id, self._base, self._folder)

    def close(self) -> None:
        """Remove all that the launch left on this host."""
        leftovers.clean(self._id, self._base)
        self._signs.remove()
        self._sentinel.close()

    def attempt(self, ranks: int) -> Ending:
        """Start the program on as many of `ranks` as fit, wait for its end, clean up, judge."""
        self._attempts += 1
        signs = Signs(self._folder, self._attempts, self._kind != "program")
        if self._mark:
            self._mark.renew()
        missing = self._begin()
        over = None
        if not missing and not self.asked.signal:
            over = self._run(self._fitting(ranks), signs)
        self._gone = missing | self._clean(missing)
        if over is not None:
            own = self._kind != "program"
            ending = judge(over[0], signs, self._mark, self.asked, over[1], own)
        elif self.asked.signal:
            return self.asked.ending("before the ranks were started")
        else:
            ending = Ending(LOST, "nothing was started")
        if ending.code == LOST and self._gone:
            sentence = "; ".join(filter(None, [sentence_on(self._gone), ending.sentence]))
            return Ending(LOST, sentence)
        return ending

    def _run(self, ranks: int, signs: Signs) -> tuple[int, str]:
        """Run mpirun to its end; return its status, and why it was killed, if it was."""
        environment = os.environ | self._launcher.environment(ranks, self._cluster is None)
        environment |= {MARK: self._id, TERMINAL: "1" if self._watched else "0"}
        environment[SPARES] = str(self._spares)
        if signs.path:
            environment[STATUS] = str(signs.path)
        if self._watched:
            environment["COLUMNS"] = str(shutil.get_terminal_size().columns)
        command = self._launcher.command(
            ranks + self._spares,
            self._program,
            leftovers.folders(self._id, self._base),
            self._cluster.options(self._id, environment) if self._cluster else None,
            self._survives and ranks > 1,
        )
        starting = STARTING + seconds_in(CONNECT_SECONDS, CONNECTING, environment)
        return run(command, environment, self.asked, lambda job: Watchdog(
            job, signs, starting, lambda: leftovers.marked(self._id, leftovers.A_RANK),
            elsewhere=self._cluster is not None,
            all_here=ranks + self._spares if self._survives and not self._cluster else 0,
        ))  # fmt: skip

    def prepare_restart(self, number: int, of: int, ranks: int, ending: Ending) -> Ending | None:
        """Say in one line why and how the run is started again; wait longer each time.

        Returns an ending where it can't be. Raises LostRanks where no host is left.
        """
        if self._cluster:
            self._cluster = self._cluster.without(self._gone)
        resumes = self._mark is not None and (self._mark.began or "--resume" in self._program)
        step = self._mark.newest_step() if self._mark and resumes else None
        if resumes:
            arguments = resuming(self._program[HEAD:])
            self._program = [*self._program[:HEAD], *arguments]
        seconds = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT)
        where = f" on {self._cluster}" if self._cluster else ""
        size = self._fitting(ranks)
        begin = "from the beginning" if step is None else f"after step {step}"
        begin = "again" if self._kind == "program" else begin
        if resumes and self._mark and not self._mark.is_of_one_run:
            begin = "go on from what has ended" if size > 1 else "goes on from what has ended"
        _say(
            f"{time.strftime('%H:%M:%S')} restart {number} of {of} in {seconds:g} s: "
            f"{ending.sentence or 'the run ended with code 5'}; "
            f"{size} rank{'s' * (size > 1)}{where} {begin}"
        )
        self.asked.sleep(seconds)
        return self._await_lock()

    def _await_lock(self) -> Ending | None:
        """Wait until a file server gives up the lock that a lost host held on the run folder."""
        end = time.monotonic() + LOCK_WAIT
        while self._mark and self._mark.in_use() and not self.asked.signal:
            if time.monotonic() > end:
                held = f"run folder {self._mark.folder} is still locked"
                by = f" ({sentence_on(self._gone)})" if self._gone else ""
                return Ending(
                    LOST, f"{held} by a rank of an earlier attempt{by}: end that host or its ranks"
                )
            self.asked.sleep(LOOK)
        return None

    def _fitting(self, ranks: int) -> int:
        return min(ranks, self._cluster.slots) if self._cluster else ranks

    def _begin(self) -> dict[str, Trouble]:
        """Make the hosts ready; return those that do not answer or, in a restart, are of no use."""
        try:
            if self._cluster is None:
                modern = self._launcher.kind == "openmpi" and self._launcher.version >= 5
                leftovers.begin(self._id, self._base, leftovers.NEEDED if modern else 0)
                return {}
            asked, first = self.asked, self._attempts == 1
            return self._cluster.begin(
                self._id, self._base, self._folder, lambda: asked.signal is not None, first
            )
        except OSError as error:
            raise UsageError(f"no place for MPI's files: {leftovers.why_no_place(error)}") from None

    def _clean(self, missing: dict[str, Trouble]) -> dict[str, Trouble]:
        """Remove all that the launch left on all hosts; return those that do not answer."""
        if self._cluster is None:
            leftovers.clean(self._id, self._base)
            return {}
        end = time.monotonic() + HURRIED
        return self._cluster.clean(
            self._id, self._base, lambda: self.asked.killed and time.monotonic() > end, missing
        )


def _concluded(ending: Ending, saves: bool) -> int:
    """Return the exit code, or raise where the ranks could not say what happened."""
    if ending.code == LOST and ending.sentence:
        raise LostRanks(f"{ending.sentence}; {GOES_ON}" if saves else ending.sentence)
    if ending.code == PREEMPTED and ending.sentence:
        raise Preempted(ending.sentence)
    return ending.code


def _places_of_signs(mark: RunMark | None, cluster: Cluster | None) -> list[Path]:
    """Return folders in which any rank can leave a sign, wherever it runs, the best first.

    Where none of them can be written in, mpirun's status must do for what does not train. Raises
    UsageError where the working directory is gone.
    """
    try:
        places = [Path.cwd()] if cluster else [Path(tempfile.gettempdir())]
    except FileNotFoundError:
        raise UsageError("the working directory was deleted: change to another one") from None
    if mark and mark.folder:
        places += [next(folder for folder in mark.folder.parents if folder.is_dir())]
    return places


def _say(line: str) -> None:
    """Print a line on standard error, unless it is closed."""
    with contextlib.suppress(OSError, ValueError):
        print(shown(f"disttrain: {line}"), file=sys.stderr, flush=True)
