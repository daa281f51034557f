"""The launcher's variables, and what must be set before numpy is imported.

Standard library only: this file is read before everything else.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from disttrain.errors import LauncherError

__all__ = [
    "ALIVE",
    "MARK",
    "MET",
    "SPARES",
    "STATUS",
    "TERMINAL",
    "VERSION",
    "Launched",
    "blas_threads",
    "cores",
    "crowded",
    "launched",
    "leave_life",
    "leave_sign",
    "leave_status",
    "prepare_blas",
    "processor_name",
    "seconds_in",
    "spares",
    "threads_are_ours",
    "withdraw_life",
]

VERSION = "0.1.0"

# Variables that hold the number of processes, most specific first: a process manager's own come
# before Slurm's, because inside a batch job mpirun's ranks inherit those of the step that started
# its daemons.
SIZES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "PALS_SIZE",
    "FLUX_JOB_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
RANKS = (
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
    "PALS_RANKID",
    "FLUX_TASK_RANK",
    "SLURM_PROCID",
)
LOCAL_SIZES = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_NTASKS_PER_NODE",
)
# What `disttrain launch` tells its ranks: which launch they belong to, where the exit code is to be
# left (with MET behind the name, a sign that all ranks have found each other; with ALIVE and a
# host, the newest sign of life from there), and whether a person watches (a rank under mpirun
# always sees a terminal).
MARK = "DISTTRAIN_LAUNCH"
STATUS = "DISTTRAIN_STATUS"
MET = ".met"
ALIVE = ".alive-"
TERMINAL = "DISTTRAIN_TERMINAL"
# How many ranks of a training, the last ones, wait as spares.
SPARES = "DISTTRAIN_SPARES"
THREADS = "OMP_NUM_THREADS"
# Set beside it where the number is this program's own choice.
CHOSEN = "DISTTRAIN_CHOSE_THREADS"
# The longest time, in seconds, that a variable may set: four months.
LONGEST = 1e7


@dataclass(frozen=True)
class Launched:
    """What a launcher says: the variable that says it, the number of processes, and which is this.

    `size` is 0 where the launcher states only a rank (bare PMIx); `local_size` is the number of
    processes on this host, 0 where it is not stated.
    """

    variable: str
    size: int
    rank: int
    local_size: int = 0

    @property
    def several_hosts(self) -> bool:
        """True unless the launcher says that all processes are on this host."""
        return self.size != 1 and not (0 < self.size <= self.local_size)


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return what the launcher says, or None where this process was started without one."""
    rank = next((int(environment[v]) for v in RANKS if environment.get(v, "").isdigit()), 0)
    for variable in SIZES:
        value = environment.get(variable, "")
        if value.isdigit() and not (variable.startswith("SLURM") and value == "1"):
            return Launched(variable, int(value), rank, _local_size(environment, 0))
    if environment.get("PMIX_RANK", "").isdigit():
        return Launched("PMIX_RANK", 0, rank, _local_size(environment, 0))
    return None


def blas_threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many BLAS threads fit this process, so that a node's ranks share its cores.

    Without a launcher it is all cores that the process may use.
    """
    return max(1, len(cores()) // max(_local_size(environment), 1))


def crowded(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True where this host has more ranks than this process may use cores.

    That is also so where each rank is bound to one core of its own.
    """
    return _local_size(environment) > len(cores())


def cores() -> set[int]:
    """Return the numbers of the cores that this process may use; where it can't be seen, all."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def processor_name() -> str:
    """Return what the processor is called, as in "Intel(R) Xeon(R) Processor"."""
    with contextlib.suppress(OSError):
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if found := re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE):
            return found[1]
    return os.uname().machine


def _local_size(environment: Mapping[str, str], unknown: int = 1) -> int:
    stated = (int(environment[v]) for v in LOCAL_SIZES if environment.get(v, "").isdigit())
    return next(stated, unknown)


def prepare_blas() -> None:
    """Set the BLAS threads, which the library reads once, when numpy is imported.

    Under a launcher the ranks of a node divide its cores; what the user has set stays, also later,
    when the ranks know each other's cores.
    """
    if launched() and THREADS not in os.environ:
        os.environ[THREADS] = str(blas_threads())
        os.environ[CHOSEN] = "1"


def threads_are_ours() -> bool:
    """Return True unless the user has set the number of BLAS threads."""
    return THREADS not in os.environ or CHOSEN in os.environ


def seconds_in(variable: str, usual: float, environment: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that the user has set in a variable, else `usual`; infinity for 0.

    Raises LauncherError for what is no time.
    """
    text = environment.get(variable) or f"{usual:g}"
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) <= LONGEST:
            return seconds or math.inf
    raise LauncherError(
        f"{variable}={text} is not a time: give seconds, as in 60, or 0 for no limit"
    )


def spares(ranks: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return how many of so many ranks are spares; raises LauncherError for what is no number.

    Two ranks must be left: a spare takes the state from one that lives.
    """
    text = environment.get(SPARES) or "0"
    if text.isascii() and text.isdigit() and (int(text) == 0 or int(text) <= ranks - 2):
        return int(text)
    raise LauncherError(
        f"{SPARES}={text} of {ranks} ranks: give the number of spares, at most the ranks less 2"
    )


def leave_sign() -> None:
    """Leave the sign for `disttrain launch` that all ranks have found each other."""
    path = os.environ.get(STATUS)
    if path is not None:
        _write(path + MET, "")


def leave_life(host: str) -> None:
    """Leave the sign for `disttrain launch` that ranks of `host` are alive."""
    path = os.environ.get(STATUS)
    if path is not None:
        _write(f"{path}{ALIVE}{host}", str(time.time_ns()))


def withdraw_life(host: str) -> None:
    """Remove the sign of `host`, so that `disttrain launch` expects no more from there."""
    with contextlib.suppress(OSError):
        os.unlink(f"{os.environ[STATUS]}{ALIVE}{host}")


def leave_status(code: int) -> bool:
    """Leave the exit code for `disttrain launch`; return False where this is not under one."""
    path = os.environ.get(STATUS)
    return path is not None and _write(path, str(code))


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True
