"""Facts of this host from the operating system: machine and cores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from disttrain.arrays.blas import blas
from disttrain.environment import THREADS, cores, processor_name, threads_are_ours
from disttrain.launch.doctor.facts import Machine, Processor

__all__ = ["machine", "processor"]

SHARED_MEMORY = "/dev/shm"


def machine() -> Machine:
    """Return the computer below and the room for shared windows."""
    boot, total, free = "", None, None
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        shared = os.statvfs(SHARED_MEMORY)
        total, free = shared.f_blocks * shared.f_frsize, shared.f_bavail * shared.f_frsize
    return Machine(boot, total, free)


def processor(training_threads: int, environment: Mapping[str, str] = os.environ) -> Processor:
    """Return cores and BLAS; `training_threads` is what a training takes unless the user says."""
    found, ours = blas(), threads_are_ours()
    return Processor(
        model=processor_name(),
        cores=tuple(sorted(cores())),
        machine_cores=os.cpu_count() or 1,
        quota=quota(),
        blas=f"{found.name} {found.version}".strip(),
        kernel=found.kernel,
        threads=training_threads if ours else found.threads,
        threads_asked="" if ours else environment.get(THREADS, ""),
    )


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
