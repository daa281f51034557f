"""The right `mpirun` for the MPI that mpi4py uses, and the options that it needs here."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from disttrain.environment import cores
from disttrain.errors import LauncherError

__all__ = ["Launcher", "find_launcher"]

NAMES = ("mpirun", "mpiexec")
# Seconds that a launcher may take to say which version it is.
ANSWER = 10.0
# Seconds that ranks look for each other, more where many start on each core, as long as they do
# without this launcher at most: one that does not come is on a host that stands still.
CONNECT, EACH, LONGEST = 60, 5, 300
# The first version of Open MPI whose jobs can go on without a rank that died.
FAULT_TOLERANT = 5
CURE = "load your site's MPI module, or pip install 'disttrain[mpi]'"


@dataclass(frozen=True)
class Launcher:
    """A program that starts ranks, and which MPI it belongs to: "openmpi" or "mpich"."""

    path: str
    kind: str
    version: int = 0

    def command(
        self,
        ranks: int,
        program: Sequence[str],
        folders: tuple[str, str] = ("", ""),
        cluster: Sequence[str] | None = None,
        survives: bool = False,
    ) -> list[str]:
        """Return the command line that starts `program` on `ranks` ranks.

        `folders` are for MPI's own files and shared memory, "" for its usual ones; `cluster` are
        the options for other hosts, None for this one alone. Where the job
        `survives`, it goes on without a rank that died.
        """
        options = ["-n", str(ranks)]
        if self.kind == "openmpi":
            options += self._here(ranks) if cluster is None else cluster
            # Room for more ranks than cores, and for any number inside a scheduler's job.
            options += ["--oversubscribe"]
            # Not bound: a second job on this host would be bound to the same cores.
            options += ["--bind-to", "none"]
            # A rank that waits yields its core: else each barrier would take a time slice of the
            # scheduler where there are other programs, or more ranks than cores.
            options += ["--mca", "mpi_yield_when_idle", "1"]
            if survives:
                # At its end MPI would wait for the dead too.
                options += ["--with-ft", "ulfm", "--mca", "async_mpi_finalize", "1"]
            if self.version >= 5:
                options += _folder_options(*folders)
        return [self.path, *options, *program]

    @property
    def can_survive(self) -> bool:
        """True where this MPI lets a job go on without a rank that died."""
        return self.kind == "openmpi" and self.version >= FAULT_TOLERANT

    def _here(self, ranks: int) -> list[str]:
        """Return the options for this host alone, also inside a scheduler's job."""
        # On one host there is shared memory; looking for networks takes Open MPI 5 a second.
        shared = "sm" if self.version >= 5 else "vader"
        ways = ["--mca", "pml", "ob1", "--mca", "btl", f"self,{shared}"]
        return ["--host", f"localhost:{ranks}", *ways]

    def environment(self, ranks: int, alone: bool = True) -> dict[str, str]:
        """Return what the ranks' environment has beyond this one's: BLAS threads, patience, root.

        Where ranks are not `alone` on this host, each finds its own share of its host's cores.
        """
        extra = {"OMP_NUM_THREADS": str(max(1, len(cores()) // ranks))} if alone else {}
        patience = min(LONGEST, max(CONNECT, EACH * ranks // len(cores())))
        extra["DISTTRAIN_CONNECT_SECONDS"] = str(patience)
        # Open MPI does not start without one, as under cron or `env -i`.
        extra["HOME"] = _home()
        if self.kind == "openmpi" and os.geteuid() == 0:
            # Containers run as root; Open MPI needs both variables to allow that.
            extra |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return {key: value for key, value in extra.items() if key not in os.environ}


def _home() -> str:
    """Return this user's home, or another folder that exists where there is none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return tempfile.gettempdir()


def _folder_options(own: str, shared: str) -> list[str]:
    """Return the options that have Open MPI 5 keep its files in these folders."""
    options = ["--prtemca", "prte_tmpdir_base", own] if own else []
    for component in ("btl_sm", "osc_sm") if shared else ():
        options += ["--mca", f"{component}_backing_directory", shared]
    return options


def find_launcher() -> Launcher:
    """Return the launcher beside this Python (the wheel's), else the one on the PATH.

    Raises LauncherError, with the cure, where there is none or it is of no known kind.
    """
    beside = Path(sys.executable).parent
    candidates = [str(beside / name) for name in NAMES if os.access(beside / name, os.X_OK)]
    candidates += [found for name in NAMES if (found := shutil.which(name))]
    if not candidates:
        raise LauncherError(
            "no mpirun is installed: pip install 'disttrain[mpi]', or load your site's MPI module"
        )
    return _asked(candidates[0])


def _asked(path: str) -> Launcher:
    """Ask a launcher which MPI it belongs to."""
    try:
        asked = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=ANSWER, check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LauncherError(
            f"{path} --version has not answered in {ANSWER:g} s: see why, or {CURE}"
        ) from None
    except OSError as error:
        raise LauncherError(
            f"{path} can't be run ({error.strerror}): mend or remove it, or {CURE}"
        ) from None
    text = asked.stdout + asked.stderr
    if "Open MPI" in text or "OpenRTE" in text:
        major = re.search(r"(\d+)\.\d+\.\d+", text)
        return Launcher(path, "openmpi", int(major[1]) if major else 5)
    if "HYDRA" in text or "MPICH" in text or "Intel" in text:
        return Launcher(path, "mpich")
    raise LauncherError(f"{path} is of an MPI that is not known here: start it by hand instead")
