"""`summary.json`: how a run ended, and what a reader needs to judge and to repeat it."""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from disttrain.arrays.blas import blas
from disttrain.comm import Communicator
from disttrain.environment import VERSION
from disttrain.errors import Divergence, Preempted
from disttrain.training.run import Run

__all__ = ["status_of", "summarize"]


def status_of(error: BaseException) -> str:
    """Return the status of a run that ended with `error`."""
    if isinstance(error, Divergence):
        return "diverged"
    return "preempted" if isinstance(error, Preempted) else "failed"


def summarize(
    run: Run | None, comm: Communicator, begin: float, status: str, digest: str | None
) -> dict[str, Any]:
    """Return the summary without scores; `run` is None where it failed before it was built.

    `reason` says why a run stopped before its last epoch ("patience", "separated": a perceptron
    makes no mistake, "gradient": below `training.epsilon`), else None. `digest` is that of the last
    training state; `samples_per_second` is over all intervals, without validation; `wall_seconds`
    counts from `begin`, this start of the run.
    """
    state = run.state if run else None
    history = state.history if state else []
    seconds = math.fsum(r["seconds"] for r in history)
    samples = math.fsum(r["seconds"] * r["samples_per_second"] for r in history)
    return {
        "status": status,
        "reason": state.reason if state and state.stopped_early else None,
        "steps": state.step if state else 0,
        "epochs": run.epoch if run else 0.0,
        "ranks": comm.size,
        "wall_seconds": time.time() - begin,
        "samples_per_second": samples / seconds if seconds else 0.0,
        "best_step": state.best_step if state and run and run.best is not None else None,
        "validation": None,
        "test": None,
        "digest": digest,
        "failures": list(state.faults) if state else [],
        "skipped": state.skipped if state else 0,
        "changes": list(state.changes) if state else [],
        "stragglers": run.work.pace.stragglers() if run else [],
        "diagnosis": [],
        "environment": environment(run, comm),
    }


def environment(run: Run | None, comm: Communicator) -> dict[str, Any]:
    """Return versions, BLAS kernel, MPI, the way of summing, the device of rank 0, all hosts."""
    found = blas()
    return {
        "disttrain": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": version("h5py"),
        "blas": f"{found.name} {found.version} {found.kernel}",
        "blas_threads": found.threads,
        "mpi": comm.library,
        "sum": run.work.reducer.way if run else None,
        "device": run.network.device.name if run else None,
        "hosts": comm.hosts,
    }
