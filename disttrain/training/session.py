"""One run in its folder, from a claim on the folder to the summary that says how it ended."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from threadpoolctl import threadpool_info

from disttrain import config
from disttrain.checkpoint import Snapshot, load, newest_whole
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.errors import CheckpointError, DisttrainError, Divergence, Preempted, RunFileError
from disttrain.model import Layer, Loss
from disttrain.preemption import Preemption
from disttrain.training.callbacks import Callback
from disttrain.training.folder import RunFolder
from disttrain.training.run import Run, build_run
from disttrain.training.trainer import fit

__all__ = ["train"]

# What may change between a run and its resumption: none of it changes what a step computes.
FREE = ("name", "plot", "training.epochs", "validation.patience", "checkpoint", "device",
        "communication", "data.path", "data.memory")  # fmt: skip


def train(
    settings: Settings,
    output: Path,
    comm: Communicator,
    *,
    resume: bool = False,
    overwrite: bool = False,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    preemption: Preemption | None = None,
) -> dict[str, Any]:
    """Train `settings` in the run folder `output` and return its summary. Collective.

    With `resume` it goes on from the newest whole checkpoint there. Raises what `fit` raises, after
    the summary says so; the training state up to then is in the folder.
    """
    folder, begin = RunFolder(output), time.time()
    done, snapshot = None, None
    say = _speaker(callbacks)
    with comm.together("opening the run folder"):
        if comm.is_root:
            folder.claim(resume, overwrite)
            snapshot = newest_whole(folder.checkpoints, say) if resume else None
            done = folder.finished() if resume else None
            if snapshot and done:
                done = done if _nothing_left(settings, done, snapshot) else None
            if snapshot and not done:
                _refuse_changes(settings, snapshot, say)
            if resume and not snapshot and not done:
                say("no checkpoint to resume from: starting from the beginning")
    done = comm.share(done)
    if done:
        say(f"the run in {output} is finished ({done['status']}): nothing to do")
        return done
    run = None
    try:
        run = build_run(
            settings, comm, layers=layers, loss=loss, callbacks=callbacks, preemption=preemption
        )
        _prepare(run, folder, snapshot)
        fit(run, folder)
        return _finish(run, folder, begin)
    except DisttrainError as error:
        if comm.is_root:
            _mark(folder, run, comm, begin, error)
        raise


def _prepare(run: Run, folder: RunFolder, snapshot: Snapshot | None) -> None:
    """Restore, tell callbacks, write the run file. Collective."""
    run.restore(snapshot)
    with run.comm.together("opening the run folder"):
        if run.comm.is_root:
            if run.state.best_loss is not None:
                best = load(folder.best)
                run.best = np.zeros(run.network.layout.length, run.network.dtype)
                run.network.load(best.parameters, run.best)
            folder.begin(run)
    with run.comm.together("callback"):
        for callback in run.callbacks:
            callback.on_start(run)


def _finish(run: Run, folder: RunFolder, begin: float) -> dict[str, Any]:
    """Score the best weights, write the summary, tell callbacks; return it. Collective."""
    final = run.digest()
    run.use_best()
    scores = {
        name: run.score(run.dataset.splits[name], f"scoring the {name} split")._asdict()
        for name in ("validation", "test")
        if name in run.dataset.splits
    }
    status = "stopped-early" if run.state.stopped_early else "completed"
    summary = _summary(run, run.comm, begin, status, final) | scores
    with run.comm.together("saving the summary"):
        if run.comm.is_root:
            folder.end(summary)
    with run.comm.together("callback"):
        for callback in run.callbacks:
            callback.on_end(run, summary)
    return run.comm.share(summary)


def _mark(
    folder: RunFolder, run: Run | None, comm: Communicator, begin: float, error: DisttrainError
) -> None:
    """Write how the run ended, where the folder still lets us."""
    status = "failed"
    if isinstance(error, Divergence):
        status = "diverged"
    elif isinstance(error, Preempted):
        status = "preempted"
    summary = _summary(run, comm, begin, status, run.digest() if run else None)
    # Where this fails too, the error that is being reported already is the better one to show.
    with contextlib.suppress(CheckpointError):
        folder.end(summary | {"failures": [str(error)]})


def _summary(
    run: Run | None, comm: Communicator, begin: float, status: str, digest: str | None
) -> dict[str, Any]:
    state = run.state if run else None
    history = state.history if state else []
    seconds = math.fsum(r["seconds"] for r in history)
    samples = math.fsum(r["seconds"] * r["samples_per_second"] for r in history)
    return {
        "status": status,
        "steps": state.step if state else 0,
        "epochs": run.epoch if run else 0.0,
        "ranks": comm.size,
        "wall_seconds": time.time() - begin,
        "samples_per_second": samples / seconds if seconds else 0.0,
        "best_step": state.best_step if state and state.best_loss is not None else None,
        "validation": None,
        "test": None,
        "digest": digest,
        "failures": [],
        "environment": _environment(run, comm),
    }


def _environment(run: Run | None, comm: Communicator) -> dict[str, Any]:
    """Return what a reader needs to judge a result: versions, BLAS kernel, sums, host."""
    blas: dict[str, Any] = next((i for i in threadpool_info() if i.get("user_api") == "blas"), {})
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "blas": f"{blas.get('internal_api')} {blas.get('version')} {blas.get('architecture')}",
        "blas_threads": blas.get("num_threads"),
        "mpi": comm.library,
        "sum": run.reducer.way if run else None,
        "device": run.network.device.name if run else None,
        "host": comm.host,
    }


def _refuse_changes(settings: Settings, snapshot: Snapshot, say: Any) -> None:
    """Say what the run file changed; refuse what would make other steps of the run."""
    old = _flat(config.parse(snapshot.run_file).model_dump())
    new = _flat(settings.model_dump())
    changed = sorted(k for k in old | new if old.get(k) != new.get(k))
    refused = [k for k in changed if not any(k == f or k.startswith(f + ".") for f in FREE)]
    if refused:
        key = refused[0]
        raise RunFileError(
            f"{key} was {old.get(key)!r} when this run began and is {new.get(key)!r} now"
            + (f" (and {len(refused) - 1} more)" if refused[1:] else "")
            + ": resume with the old value, or begin another run with another --output"
        )
    for key in changed:
        say(f"resuming with {key} = {new.get(key)!r} (was {old.get(key)!r})")


def _nothing_left(settings: Settings, done: dict[str, Any], snapshot: Snapshot) -> bool:
    """Return True unless the run file now asks for more epochs than a completed run has done."""
    return done["status"] == "stopped-early" or snapshot.epoch >= settings.training.epochs


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(table, dict):
        return {prefix: table}
    return {
        key: value
        for name, part in table.items()
        for key, value in _flat(part, f"{prefix}.{name}" if prefix else name).items()
    }


def _speaker(callbacks: Sequence[Callback]) -> Any:
    def say(line: str) -> None:
        for callback in callbacks:
            callback.on_message(line)

    return say
