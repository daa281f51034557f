"""How a run ends: the scores of its best weights, its summary, or why it failed."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from disttrain.advice.diagnosis import diagnose
from disttrain.advice.guessing import Guess, guess
from disttrain.advice.kinds import one_hot
from disttrain.advice.scale import odd_scales
from disttrain.advice.separability import perceptron_says
from disttrain.comm import Communicator
from disttrain.errors import CheckpointError, failure_noted, sentence_of
from disttrain.runs.folder import RunFolder
from disttrain.runs.summary import status_of, summarize
from disttrain.training.finite import diverged
from disttrain.training.run import Run

__all__ = ["finish", "mark"]


def finish(run: Run, folder: RunFolder, begin: float) -> dict[str, Any]:
    """Score the best weights, write the summary and return it. Collective."""
    run.use_best()
    scores: dict[str, Any] = scores_of(run, "best weights")
    if run.optimizer.average:
        with run.optimizer.average.in_place():
            scores["average"] = scores_of(run, "running average")
    status = "stopped-early" if run.state.stopped_early else "completed"
    summary = summarize(run, run.comm, begin, status, run.stage.digest) | scores
    with run.comm.together("saving"):
        if run.comm.is_root:
            summary["diagnosis"] = diagnosis(run)
            folder.end(summary)
    return run.comm.share(summary)


def scores_of(run: Run, of: str) -> dict[str, Any]:
    """Return the score of each split that was held out, by name. Collective."""
    scores: dict[str, Any] = {}
    for name in ("validation", "test"):
        if name in run.dataset.splits:
            score = run.score(run.dataset.splits[name], f"scoring the {name} split")
            if not math.isfinite(score.loss):
                raise diverged(run, f"the {name} loss of the {of} is {score.loss}", run.state.step)
            scores[name] = score.facts()
    return scores


def diagnosis(run: Run) -> list[str]:
    """Return what the run says about its settings (rank 0, which reads some rows for it)."""
    split = "validation" if "validation" in run.dataset.splits else "train"
    guessed: Guess | None = guess(run.dataset, split, run.loss.kind)
    if run.settings.training.class_weights:
        # Right answers of rare classes are bought with wrong ones of the most frequent.
        guessed = None
    rows = run.dataset.splits["train"].count
    odd = [*one_hot(run), *odd_scales(run)]
    found = diagnose(run.state.history, run.settings, guessed, odd, rows)
    return [*perceptron_says(run), *found]


def mark(
    run: Run | None, comm: Communicator, folder: RunFolder, begin: float, error: BaseException
) -> None:
    """Write down how the run ended (rank 0); not over another run, which was not touched."""
    with contextlib.suppress(CheckpointError):
        if not folder.begun and folder.holds_a_run():
            return
    digest = (run.stage.digest or run.digest()) if run else None
    summary = summarize(run, comm, begin, status_of(error), digest)
    summary["failures"].append(sentence_of(failure_noted(error) or error))
    # Where this fails too, the error that is being raised is the better one to show.
    with contextlib.suppress(CheckpointError):
        folder.end(summary)
