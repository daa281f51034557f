"""The functions that a script calls: each does what the command of its name does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disttrain import runs, training
from disttrain.comm import Communicator, connect
from disttrain.config import Settings
from disttrain.model import Layer, Loss
from disttrain.runs.trained import Trained, load_trained
from disttrain.training import Callback, Run

__all__ = ["build", "connect", "load", "train"]


def build(
    settings: Settings,
    *,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    comm: Communicator | None = None,
) -> Run:
    """Return a run in memory, ready for `fit`. Collective.

    After `fit(run)`, `run.state.history` holds its intervals, `run.use_best()` takes the weights
    with the least validation loss, `run.score(run.dataset.splits["test"], "test")` judges them and
    `run.predict(inputs)` uses them. `layers` and `loss` replace those of the settings.
    """
    run = training.build_run(
        settings, comm or connect(), layers=layers, loss=loss, callbacks=callbacks
    )
    run.restore(None)
    return run


def train(
    settings: Settings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    accept_changes: bool = False,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    comm: Communicator | None = None,
) -> dict[str, Any]:
    """Train in the run folder `output` and return the summary, as in `summary.json`. Collective."""
    return runs.train(
        settings, Path(output), comm or connect(), resume=resume, overwrite=overwrite,
        accept_changes=accept_changes, layers=layers, loss=loss, callbacks=callbacks,
    )  # fmt: skip


def load(
    path: str | Path,
    *,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    comm: Communicator | None = None,
) -> Trained:
    """Return the network in a checkpoint, or the best one of a run folder. Collective.

    Give the `layers` and the `loss` of your own that it was trained with, if any.
    """
    return load_trained(path, comm or connect(), layers, loss)
