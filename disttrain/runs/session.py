"""One run in its folder, from the lock on the folder to the summary that says how it ended."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from disttrain.advice.activity import equal_units, why_equal
from disttrain.advice.diagnosis import diagnose
from disttrain.advice.guessing import Guess, guess
from disttrain.advice.scale import odd_scales
from disttrain.advice.separability import perceptron_says
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset
from disttrain.errors import CheckpointError, failure_noted, raised_everywhere, sentence_of
from disttrain.model import Layer, Loss
from disttrain.preemption import Preemption
from disttrain.runs.adaptation import Best, adapt, best_of
from disttrain.runs.chronicle import Chronicle, chronicled, note_ready, teller
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import Start, look_back
from disttrain.runs.summary import status_of, summarize
from disttrain.training.build import build_run
from disttrain.training.callbacks import Callback
from disttrain.training.injection import Injection
from disttrain.training.limits import within_limits
from disttrain.training.measures import Metric, Metrics
from disttrain.training.pretraining import pretrain
from disttrain.training.run import Run
from disttrain.training.trainer import diverged, fit

__all__ = ["train"]


def train(
    settings: Settings,
    output: Path,
    comm: Communicator,
    *,
    resume: bool = False, overwrite: bool = False, accept_changes: bool = False,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    metrics: Metrics | Sequence[Metric] = (),
    preemption: Preemption | None = None,
    injection: Injection | None = None,
    dataset: Dataset | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train `settings` in the run folder `output` and return its summary. Collective.

    With `resume` it goes on from the newest whole checkpoint there, with `accept_changes` also to
    another result. `dataset` are the data of the settings where they are open already. Raises what
    `fit` raises, after the summary says so and the state is saved.
    """
    chronicle, start, folder = Chronicle(), Start(), RunFolder(output)
    callbacks = [chronicle, *callbacks] if comm.is_root else []
    say, warn = teller(callbacks), teller(callbacks, grave=True)
    try:
        with comm.together("opening the run folder"):
            if comm.is_root:
                folder.claim(resume, overwrite)
            if comm.is_root and resume:
                start = look_back(folder, settings, say, accept_changes, warn)
                start.refuse_another(output, layers, loss.kind if loss else settings.model.loss)
        settings = start.settings or settings
        done, recorded, settings = comm.share((start.done, start.arithmetic, settings))
        if done:
            return _say_done(done, output, say)
        build = partial(build_run, settings, comm, layers=layers, loss=loss, callbacks=callbacks,
                        preemption=preemption, metrics=metrics, recorded=recorded,
                        injection=injection, dataset=dataset)  # fmt: skip
        restore = partial(_begin, folder=folder, start=start, accept=accept_changes, warn=warn)
        with chronicled(folder, comm, chronicle.early):
            run, summary = _to_the_end(settings, folder, comm, build, restore)
            with contextlib.closing(run):
                _tell_the_end(run, summary)
            return summary
    finally:
        _stop(folder, callbacks)


def _say_done(done: dict[str, Any], output: Path, say: Callable[[str], None]) -> dict[str, Any]:
    say(f"the run in {output} is finished ({done['status']}): nothing to do")
    return done


def _stop(folder: RunFolder, callbacks: Sequence[Callback]) -> None:
    folder.release()
    for callback in callbacks:
        callback.on_stop()


def _to_the_end(
    settings: Settings,
    folder: RunFolder,
    comm: Communicator,
    build: Callable[[], Run],
    restore: Callable[[Run], None],
) -> tuple[Run, dict[str, Any]]:
    """Build, restore, fit, score; return the run and its summary, which is written. Collective."""
    begin, run, digest = time.time(), None, None
    try:
        with within_limits(settings, comm):
            run = build()
            restore(run)
            pretrain(run, folder)
            fit(run, folder)
            digest = run.digest()
            return run, _finish(run, folder, begin, digest)
    except BaseException as error:
        if comm.is_root:
            _mark(run, comm, folder, begin, error, digest)
        if run and raised_everywhere(error):
            run.close()
        raise


def _begin(
    run: Run, folder: RunFolder, start: Start, accept: bool, warn: Callable[[str], None]
) -> None:
    """Restore the state, begin to write in the folder, call `on_start`. Collective.

    Nothing in the folder is changed before all checks that may refuse the run.
    """
    best, snapshot = Best(), start.snapshot
    with run.comm.together("restoring"):
        if snapshot:
            adapt(run, snapshot, accept, warn)
            best = best_of(folder, start)
    run.restore(snapshot, best.snapshot)
    if run.settings.validation.patience and "validation" not in run.dataset.splits:
        warn(
            f"warning: validation.patience = {run.settings.validation.patience} has nothing to "
            f"judge by, as {run.settings.data.path} has no validation rows: give "
            "data.validation_fraction, or a file with some"
        )
    if snapshot is None and (names := equal_units(run.network)):
        warn(f"warning: {why_equal(names)}")
    with run.comm.together("opening the run folder"):
        if run.comm.is_root:
            folder.refuse_unusable()
            start.put_right(folder, warn)
            best.put_right(folder, warn)
            folder.begin(run, start.records)
    with run.comm.together("callback"), run.comm.alone_in("a callback"):
        for callback in run.callbacks:
            callback.on_start(run)
    note_ready(run)


def _tell_the_end(run: Run, summary: dict[str, Any]) -> None:
    with run.comm.together("callback"), run.comm.alone_in("a callback"):
        for callback in run.callbacks:
            callback.on_end(run, summary)


def _finish(run: Run, folder: RunFolder, begin: float, digest: str) -> dict[str, Any]:
    """Score the best weights, write the summary and return it. Collective."""
    run.use_best()
    scores: dict[str, Any] = _scores(run, "best weights")
    if run.optimizer.average:
        with run.optimizer.average.in_place():
            scores["average"] = _scores(run, "running average")
    status = "stopped-early" if run.state.stopped_early else "completed"
    summary = summarize(run, run.comm, begin, status, digest) | scores
    with run.comm.together("saving"):
        if run.comm.is_root:
            summary["diagnosis"] = _diagnosis(run)
            folder.end(summary)
    return run.comm.share(summary)


def _scores(run: Run, of: str) -> dict[str, Any]:
    """Return the score of each split that was held out, by name. Collective."""
    scores: dict[str, Any] = {}
    for name in ("validation", "test"):
        if name in run.dataset.splits:
            score = run.score(run.dataset.splits[name], f"scoring the {name} split")
            if not math.isfinite(score.loss):
                raise diverged(run, f"the {name} loss of the {of} is {score.loss}", run.state.step)
            scores[name] = score.facts()
    return scores


def _diagnosis(run: Run) -> list[str]:
    """Return what the run says about its settings (rank 0, which reads some rows for it)."""
    split = "validation" if "validation" in run.dataset.splits else "train"
    guessed: Guess | None = guess(run.dataset, split, run.loss.kind)
    if run.settings.training.class_weights:
        # Right answers of rare classes are bought with wrong ones of the most frequent.
        guessed = None
    found = diagnose(run.state.history, run.settings, guessed, odd_scales(run))
    return [*perceptron_says(run), *found]


def _mark(
    run: Run | None, comm: Communicator, folder: RunFolder, begin: float, error: BaseException,
    digest: str | None,
) -> None:  # fmt: skip
    """Write down how the run ended (rank 0); not over another run, which was not touched.

    `digest` is that of a training that is done.
    """
    with contextlib.suppress(CheckpointError):
        if not folder.begun and folder.holds_a_run():
            return
    digest = digest or (run.digest() if run else None)
    summary = summarize(run, comm, begin, status_of(error), digest)
    summary["failures"].append(sentence_of(failure_noted(error) or error))
    # Where this fails too, the error that is being raised is the better one to show.
    with contextlib.suppress(CheckpointError):
        folder.end(summary)
