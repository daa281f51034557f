"""What the operating system says of this host: machine and cores."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from disttrain.environment import THREADS, threads_are_ours
from disttrain.launch.doctor.facts import Machine, Processor

__all__ = ["machine", "processor"]

SHARED_MEMORY = "/dev/shm"
ROOT_VARIABLES = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")


def machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return the computer below, root's rights to start MPI, and the room for shared windows."""
    boot, total, free = "", None, None
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        shared = os.statvfs(SHARED_MEMORY)
        total, free = shared.f_blocks * shared.f_frsize, shared.f_bavail * shared.f_frsize
    allowed = all(environment.get(name) == "1" for name in ROOT_VARIABLES)
    return Machine(boot, os.geteuid() == 0, allowed, total, free)


def processor(training_threads: int, environment: Mapping[str, str] = os.environ) -> Processor:
    """Return cores and BLAS; `training_threads` is what a training takes unless the user says."""
    import numpy  # noqa: F401 - loads the BLAS that is asked

    blas: dict[str, Any] = next((i for i in threadpool_info() if i.get("user_api") == "blas"), {})
    ours = threads_are_ours()
    every = os.cpu_count() or 1
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(every)
    return Processor(
        model=_model(),
        cores=tuple(sorted(cores)),
        machine_cores=every,
        quota=quota(),
        blas=f"{blas.get('internal_api', 'unknown')} {blas.get('version') or ''}".strip(),
        kernel=blas.get("architecture") or "",
        threads=training_threads if ours else int(blas.get("num_threads") or 1),
        threads_asked="" if ours else environment.get(THREADS, ""),
    )


def _model() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1]
    return os.uname().machine


def quota(groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores' time this container gets, or None where it is not limited."""
    with suppress(OSError, ValueError):
        granted, period = (groups / "cpu.max").read_text().split()
        return None if granted == "max" else int(granted) / int(period)
    with suppress(OSError, ValueError):
        granted = (groups / "cpu/cpu.cfs_quota_us").read_text()
        period = (groups / "cpu/cpu.cfs_period_us").read_text()
        return int(granted) / int(period) if int(granted) > 0 else None
    return None
