"""The functions that a script calls: each does what the command of its name does.

Under mpirun every rank calls the same functions in the same order.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain import config, runs, training
from disttrain.api.data import Data, remove_others
from disttrain.api.given import Given, as_callbacks, as_objects, as_tables, rates_of
from disttrain.api.notebook import interactive
from disttrain.comm import Communicator, connect, in_groups
from disttrain.config import Settings, from_keywords
from disttrain.errors import UsageError
from disttrain.interop.any_model import network_of_model
from disttrain.model import Layer, Loss
from disttrain.preemption import Preemption
from disttrain.runs.ensembled import load_model
from disttrain.runs.folder import RunFolder
from disttrain.runs.held import TEMPORARY
from disttrain.runs.refused import unless_refused
from disttrain.runs.sentences import in_python
from disttrain.runs.trained import Trained, load_trained
from disttrain.training import Callback, Run
from disttrain.training.measures import Metric, Metrics
from disttrain.written import intervals_of, run_at, summary_of

if TYPE_CHECKING:
    from disttrain.comm.world import AnyCommunicator

__all__ = ["Data", "build", "connect", "in_groups", "load", "settings", "train"]


@in_python
def train(
    data: Data | Settings | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    layers: Sequence[Given] | None = None,
    loss: str | Loss | None = None,
    model: Any = None,
    schedule: Any = None,
    callbacks: Sequence[Callback] = (),
    metrics: Metrics | Sequence[Metric] = (),
    resume: bool = False,
    overwrite: bool = False,
    accept_changes: bool = False,
    progress: bool | None = None,
    comm: AnyCommunicator | None = None,
    **keywords: Any,
) -> Trained:
    """Train a network and return it with its best weights. Collective.

    `data` are arrays (`Data(X, y)`), the path of a data file or a run file (`.toml`), or settings.
    All keys of a run file are keywords: `optimizer="adam"`, `validation={"every_steps": 100}`.
    `schedule` may be a function of the epoch too, `layers` are numbers of units, tables as in a run
    file, or objects, `loss` is a name or an object. `metrics` are functions of all predictions and
    targets of a split, by name: `{"f1": my_f1}`. `model`, in place of layers and loss, is any
    object with `parameters`, flat, and `loss_and_gradient(rows)`.

    The run is in the folder `output`, which all hosts must see, or a temporary one. `resume`,
    `overwrite`, `accept_changes`, `progress`: docs/python.md. Raises what ends the command.
    """
    folder, keep = _folder(output, comm := connect(comm))
    if model is not None:
        layers, loss, keywords["dtype"] = network_of_model(model)
    with unless_refused(folder, comm), (asked := Preemption()).heard(interactive()):
        path = _stored(data, folder, comm, resume or overwrite)
        settings, objects, own = _settings(data, path, layers, loss, schedule, keywords, comm)
        called = _called(callbacks, progress, None if keep else folder, comm)
        called += _loggers(settings, folder, comm)
        summary = runs.train(
            settings, folder, comm, resume=resume, overwrite=overwrite, layers=objects, loss=own,
            accept_changes=accept_changes, callbacks=called, metrics=metrics, preemption=asked,
        )  # fmt: skip
    trained = load_trained(folder, comm, objects, own)
    if model is not None:
        (model.parameters,) = map(np.array, trained.snapshot.parameters.values())
    return _finished(trained, data, folder, summary, keep)


def settings(
    data: Settings | str | os.PathLike[str],
    *,
    layers: Sequence[Given] | None = None,
    **keywords: Any,
) -> Settings:
    """Return settings for `train` or `build`: those that are given, changed by keywords.

    `data` are settings, or the path of a run file (`.toml`) or of a data file; layers and keywords
    are those of `train`. Raises RunFileError, one sentence that names the key.
    """
    if not isinstance(data, Settings) and Path(data).suffix == ".toml":
        data = config.read(os.fspath(data))
    base = data if isinstance(data, Settings) else None
    keys = (
        keywords if isinstance(data, Settings) else {"path": str(Path(data).absolute())} | keywords
    )
    return from_keywords(base, keys | (as_tables(layers) if layers is not None else {}))


@in_python
def build(
    settings: Settings | str | os.PathLike[str],
    *,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    metrics: Metrics | Sequence[Metric] = (),
    comm: AnyCommunicator | None = None,
) -> Run:
    """Return a run in memory, ready for `fit`: what `train` does step by step. Collective.

    After `fit(run)`, `run.state.history` holds its intervals, `run.use_best()` takes the weights
    with the least validation loss and `run.predict(inputs)` uses them. `settings` may be the path
    of a run file; `layers` and `loss` replace those of the settings.
    """
    comm = connect(comm)
    with comm.together("configuration"):
        settings = settings if isinstance(settings, Settings) else config.read(os.fspath(settings))
    run = training.build_run(
        settings, comm, layers=layers, loss=loss, callbacks=callbacks, metrics=metrics
    )
    run.restore(None)
    return run


@in_python
def load(
    path: str | os.PathLike[str],
    *,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    model: Any = None,
    comm: AnyCommunicator | None = None,
) -> Trained:
    """Return the network in a checkpoint, the best one of a run folder, or an ensemble. Collective.

    Of a run folder it has the summary and the history too. Give the `layers` and the `loss`, or the
    `model`, of your own that it was trained with, if any.
    """
    if model is not None:
        layers, loss, _ = network_of_model(model)
    trained = load_model(os.fspath(path), connect(comm), layers, loss)
    with trained.comm.together("reading the history"):
        _remember(trained, Path(path))
    return trained


def _finished(
    trained: Trained, data: Any, folder: Path, summary: dict[str, Any],
    keep: tempfile.TemporaryDirectory[str] | None,
) -> Trained:  # fmt: skip
    """Note how a training went; remove the data files of others before it. Collective."""
    with trained.comm.together("reading the history"):
        if trained.comm.is_root and isinstance(data, Data):
            remove_others(Path(trained.settings.data.path))
        _remember(trained, folder)
        trained.summary = summary
    if keep:
        weakref.finalize(trained, keep.cleanup)
    return trained


def _remember(trained: Trained, folder: Path) -> None:
    """Give it the summary and the intervals that its run folder holds, as far as can be read."""
    if run_at(folder) != folder:
        return
    with suppress(OSError, ValueError):
        trained.summary = summary_of(folder / "summary.json")
    with suppress(OSError, ValueError):
        for interval in intervals_of(folder / "metrics.jsonl"):
            trained.history.append(interval)


def _called(
    callbacks: Sequence[Callback], progress: bool | None, folder: Path | None, comm: Communicator
) -> list[Callback]:
    """Return the callbacks, and on rank 0 what shows the progress. Collective."""
    with comm.together("configuration"):
        own = as_callbacks(callbacks)
    if progress is False or not comm.is_root:
        return own
    from disttrain.api.progress import Progress, default

    shown = Progress(folder) if progress else default(folder)
    return [*own, shown] if shown else own


def _loggers(settings: Settings, folder: Path, comm: Communicator) -> list[Callback]:
    """Return the loggers that the settings name, for rank 0. Collective."""
    if not settings.logging.loggers:
        return []
    from disttrain.interop.loggers.process import loggers_of

    with comm.together("configuration"):
        found = loggers_of(settings, folder)
    return found if comm.is_root else []


def _folder(
    output: str | os.PathLike[str] | None, comm: Communicator
) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """Return the run folder, and what removes a temporary one (rank 0). Collective."""
    if output is not None and not isinstance(output, str | os.PathLike):
        raise UsageError(
            f"the second argument, the run folder, is {type(output).__name__}: give arrays as "
            "disttrain.Data(X, y)"
        )
    if output is not None:
        return Path(output).absolute(), None
    keep = None
    with comm.together("making a folder"):
        if comm.is_root:
            # Other hosts see the working directory rather than /tmp.
            where = None if comm.local_size == comm.size else "."
            keep = tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=where)
    made: str = comm.share(str(Path(keep.name).absolute()) if keep else None)
    return Path(made), keep


def _stored(data: Any, folder: Path, comm: Communicator, again: bool) -> str | None:
    """Return the path of the data file: written from arrays, or as given. Collective.

    Unless it is trained `again`, nothing is written into the folder of another run.
    """
    path = None
    with comm.together("preparing the data"):
        if comm.is_root and not again:
            RunFolder(folder).refuse_to_replace()
        if isinstance(data, Data) and comm.is_root:
            path = str(data.write(folder))
        elif not isinstance(data, Data | Settings | str | os.PathLike):
            raise UsageError(
                f"data are {type(data).__name__}: give disttrain.Data(X, y), the path of a data "
                "file or of a run file, or settings"
            )
        elif isinstance(data, str | os.PathLike) and Path(data).suffix != ".toml":
            path = str(Path(data).absolute())
    return comm.share(path)


def _settings(
    data: Any, path: str | None, layers: Sequence[Given] | None, loss: str | Loss | None,
    schedule: Any, keywords: dict[str, Any], comm: Communicator,
) -> tuple[Settings, list[Layer] | None, Loss | None]:  # fmt: skip
    """Return the settings, and layers and loss that are objects of the user's own. Collective."""
    rates: list[float] | None = None
    with comm.together("configuration"):
        base = data if isinstance(data, Settings) else None if path else config.read(data)
        keys = dict(keywords) | ({"path": path} if path else {})
        if isinstance(loss, str):
            keys["loss"] = loss
        if layers is not None:
            keys |= as_tables(layers)
        if schedule is not None and not callable(schedule):
            keys["schedule"] = schedule
        settings = from_keywords(base, keys)
        if callable(schedule) and comm.is_root:
            rates = rates_of(schedule, settings)
    if callable(schedule):
        rates = comm.share(rates)
        with comm.together("configuration"):
            settings = settings.replace(schedule={"kind": "rates", "rates": rates})
    own = loss if isinstance(loss, Loss) else None
    return settings, as_objects(layers) if layers is not None else None, own
