"""What a bug report needs: versions, machine, MPI, GPU, and variables that are no secret."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disttrain.environment import VERSION
from disttrain.launch.doctor.disk import whole
from disttrain.launch.doctor.examine import join, look_here
from disttrain.launch.doctor.facts import Facts

__all__ = ["bug_report", "shown_variables"]

# What changes how a run goes. Nothing else is ever printed: a variable may hold a password.
SHOWN = re.compile(
    r"(OMP|OPENBLAS|MKL|BLIS|NUMBA)_(NUM_)?(THREADS|DYNAMIC|PROC_BIND|PLACES|CORETYPE|VERBOSE)"
    r"|OMPI_(COMM_WORLD|MCA|ALLOW_RUN_AS_ROOT|VERSION|UNIVERSE_SIZE)\w*"
    r"|(PRTE|PMIX)_MCA_\w+|PMIX_(RANK|VERSION|NAMESPACE)|PMI_(RANK|SIZE)|MPI4PY_\w+|MPI_LOCAL\w+"
    r"|SLURM_(JOB_ID|NTASKS|NPROCS|NNODES|NODELIST|JOB_NODELIST|PROCID|LOCALID|MPI_TYPE"
    r"|(N)?TASKS_PER_NODE|CPUS_PER_TASK|CPUS_ON_NODE|STEP_NUM_TASKS|GPUS\w*|RESTART_COUNT)"
    r"|UCX_(NET_DEVICES|TLS)|DISTTRAIN_\w+|HDF5_USE_FILE_LOCKING"
    r"|CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|NCCL_\w+|CUPY_\w+"
)
SECRET = re.compile(r"TOKEN|SECRET|PASS|KEY|CRED|JWT|AUTH", re.IGNORECASE)


def bug_report(folder: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what a bug report needs of this rank, as plain values. Collective."""
    comm, error = join()
    facts = Facts(**look_here(comm, whole(folder), error)).plain()
    software, host = facts.pop("software") or {}, facts.pop("host")
    kept = ("launch", "mpi", "processor", "gpu", "machine", "network", "disk", "failed")
    return {
        "disttrain": VERSION,
        "platform": platform.platform(),
        "host": host,
        "ranks": comm.size,
        "hosts": len(comm.hosts),
        "software": software,
        **{subject: facts[subject] for subject in kept},
        "variables": shown_variables(environment),
    }


def shown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the allowed names, in order; never one that may be a secret."""
    return {
        name: environment[name]
        for name in sorted(environment)
        if SHOWN.fullmatch(name) and not SECRET.search(name)
    }
