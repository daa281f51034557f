"""Using a trained network: from a checkpoint to scores and predictions."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.arrays import choose
from disttrain.checkpoint import Snapshot, find, load
from disttrain.comm import Communicator
from disttrain.data import (
    Normalization,
    Split,
    TargetScale,
    fingerprint,
    open_dataset,
    read_facts,
)
from disttrain.data.others import Other, Wanted, is_hdf5, open_other, split_of
from disttrain.data.preparation import Preparation
from disttrain.data.taught import Taught
from disttrain.errors import CheckpointError, DataError, Divergence, UsageError
from disttrain.model import Layer, Loss
from disttrain.model.network import shapes_of
from disttrain.runs.resumption import refuse_other_loss, refuse_own_layers
from disttrain.runs.saving import copy_to
from disttrain.runs.sentences import in_python
from disttrain.training.evaluation import Score
from disttrain.training.predictor import Predictor, build_predictor, stacked

__all__ = ["Trained", "load_trained"]


@dataclass(repr=False)
class Trained(Predictor):
    """A network with the weights of a checkpoint, and its normalization.

    After a training, and where a script loads a run folder, `summary` is what `summary.json` holds,
    and `history` the intervals of `metrics.jsonl`; both are empty for a file of weights alone.
    """

    path: Path
    snapshot: Snapshot
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        network, loss = self.network.widths, self.loss.kind
        return f"<Trained {network}, {loss}, after step {self.snapshot.step}: {self.path}>"

    @cached_property
    def taught(self) -> Taught:
        """What it learned from its training file besides its weights: names, shapes and types."""
        return taught_by(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the columns of `predict` are called: names of classes, none where it fits numbers.

        Classes without names are called by their numbers, from 0.
        """
        return self.taught.called

    @property
    def told(self) -> str:
        """What a line about it says behind its name."""
        return f"step {self.snapshot.step}"

    def split(self, name: str, path: str | None = None) -> Split:
        """Return a split of the data of the training, or of the file at `path`. Collective.

        Raises on all ranks for data that the network does not fit (DataError's code), or that have
        no such split.
        """
        return self.samples(path, name).split

    def samples(
        self,
        path: str | None = None,
        split: str | None = None,
        *,
        labelled: bool = True,
        labels: str | os.PathLike[str] | None = None,
    ) -> Other:
        """Return the samples of a file, all of them unless a `split` is named. Collective.

        Of the file of the training (or a copy; it is meant where there is no `path`) it is a split
        as it was then, "test" where none is named. Unless `labelled` the file needs no targets;
        `labels` is a table with the classes of the images in the folder `path`.
        Raises on all ranks, with DataError's code, for what the training file does not have.
        """
        data, name = self.settings.data, split or "test"
        with self.comm.together("opening data"):
            if path is None and not self.snapshot.state["data"]["samples"]:
                raise DataError(
                    f"{self.path} was imported, without data: name a file of samples (--data)"
                )
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            if path is not None:
                if labels is not None or not self._is_own(path):
                    wanted = Wanted(split, labelled, None if labels is None else Path(labels))
                    return open_other(path, self.taught, data, self.comm, wanted)
                data = data.model_copy(update={"path": path})
            dataset = open_dataset(data, self.settings.seed, self.comm, only=name)
            with self.comm.together("opening data"):
                found = split_of(self.taught, dataset, name)
        return Other(found, dataset.numbers[name].tolist())

    def _is_own(self, path: str) -> bool:
        """Tell whether a file is that of the training, or a copy of it. Collective."""
        own, same = self.settings.data, False
        with self.comm.together("opening data"):
            if self.comm.is_root:
                same = _same(path, own.path)
                known = self.snapshot.state["data"].get("fingerprint")
                if not same and known and is_hdf5(path):
                    with suppress(DataError):
                        same = fingerprint(read_facts(path, (own.inputs, own.targets))) == known
        return self.comm.share(same)

    def judge(self, samples: Split, called: str) -> Score:
        """Return loss and accuracy on samples, `called` so in sentences. Collective.

        Raises Divergence on all ranks where the loss is not a finite number.
        """
        score = self.score(samples, f"scoring {called}")
        if not math.isfinite(score.loss):
            raise Divergence(
                f"the loss of {self.path} on {called} is {score.loss}: its outputs are too large "
                "for its targets; look for wild numbers in the data, or train it anew with a "
                "smaller schedule.learning_rate"
            )
        return score

    @in_python
    def evaluate(
        self,
        data: Any = None,
        targets: Any = None,
        *,
        split: str | None = None,
        labels: str | os.PathLike[str] | None = None,
    ) -> Score:
        """Return loss and accuracy. Collective.

        `evaluate(X, y)` is for arrays, `evaluate("file")` for another file (all of it, or its
        `split`), `evaluate()` for the data of the training: there the rows of `split`, "test" where
        nothing is said; `evaluate("folder", labels="table")` for images whose classes a table
        states. Raises Divergence on all ranks where the loss is not a finite number.
        """
        with self.comm.together("opening data"):
            if targets is not None and split is not None:
                raise UsageError(f"split={split!r} is for files: arrays are used whole")
            if labels is not None and not isinstance(data, str | os.PathLike):
                raise UsageError("labels= is for a folder of images: give its path")
            if targets is None and not isinstance(data, str | os.PathLike | None):
                raise UsageError("evaluate(X) is without targets: give evaluate(X, y)")
            if targets is not None:
                rows = self.taught.rows_of(data)
                if len(rows.gaps):
                    raise DataError(
                        f"{len(rows.gaps)} rows of the DataFrame have missing cells, the first is "
                        f"row {rows.gaps[0]}: leave them out, and their targets"
                    )
                samples = Split("inputs", rows, self.taught.targets_of(targets, rows.count))
        if targets is None:
            samples = self.samples(data and os.fspath(data), split, labels=labels).split
        return self.judge(samples, f"the {samples.name} samples")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file (.h5) that `disttrain.load` takes. Collective. Raises UsageError."""
        with self.comm.together("saving", by_root=True):
            if self.comm.is_root:
                copy_to(Path(path), self.path)

    @in_python
    def predict(self, inputs: Any, everywhere: bool = True) -> np.ndarray | None:
        """Return the predictions for raw `inputs` (samples first), or for a file. Collective.

        Class probabilities where it was trained with the softmax loss, else its outputs; on every
        rank, or where not `everywhere` on rank 0 alone.
        """
        if isinstance(inputs, str | os.PathLike):
            outputs = self.predict_split(self.samples(os.fspath(inputs), labelled=False).split)
        else:
            with self.comm.together("predicting"):
                rows = self.taught.rows_of(inputs)
                samples = Split("inputs", rows, np.zeros(rows.count, np.int64))
            outputs = self.predict_split(samples)
        return self._shared(outputs) if everywhere else outputs


def load_trained(
    path: str | Path,
    comm: Communicator,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    *,
    averaged: bool = False,
    float64: bool = False,
) -> Trained:
    """Return the network in a checkpoint, or the best one of a run folder. Collective.

    It has the running average of the parameters instead of them where it is to be `averaged`, and
    computes in float64, whatever it was trained in, where that is said.
    Raises on all ranks, with CheckpointError's code, where the file is missing or torn, or was made
    by a script with a loss or layers of its own, which must then be given here too.
    """
    with comm.together("loading the checkpoint"):
        file = find(Path(path))
        snapshot = load(file)
        settings = snapshot.settings(file)
        wide = {"dtype": "float64"} if float64 else {}
        settings = settings.replace(data={"path": snapshot.state["data"]["path"]}, model=wide)
        # A network that was trained on a GPU can be used anywhere.
        kind = "cpu" if settings.device.kind == "cpu" else "auto"
        device = choose(kind, comm.host_rank)
        normalization = Normalization(**snapshot.normalization)
        inputs = int(snapshot.state["data"]["inputs"])
        # Checkpoints of before have no shape: their networks took each sample as a vector.
        shape = tuple(snapshot.state["data"].get("shape", [inputs]))
        refuse_own_layers(snapshot, file, layers)
        if layers is None:
            # Before the network takes memory: the run file in a checkpoint can name any size.
            _, parameters = shapes_of(list(stacked(settings)), shape)
            parts = [part for here in parameters for part in here.values()]
            snapshot.refuse_other_count(sum(math.prod(part.shape) for part in parts), file)
        model = build_predictor(
            settings, comm, normalization, shape, device, layers, loss, *of_targets(snapshot, file)
        )
        refuse_other_loss(snapshot, file, model.loss.kind)
        weights = weights_of(snapshot, file, averaged, float64)
        model.network.load(weights, model.network.values)
    return Trained(
        settings, comm, model.network, model.loss, normalization, model.feed, model.loss_context,
        path=file, snapshot=snapshot,
    )  # fmt: skip


def weights_of(
    snapshot: Snapshot, file: Path, averaged: bool, float64: bool
) -> dict[str, np.ndarray]:
    """Return the parameters, or their running average. Raises CheckpointError without one."""
    if averaged and not snapshot.average:
        raise CheckpointError(f"{file} has no running average: it needs model.average")
    weights = snapshot.average if averaged else snapshot.parameters
    return {k: t.astype(np.float64) for k, t in weights.items()} if float64 else weights


def of_targets(snapshot: Snapshot, file: Path) -> tuple[TargetScale | None, np.ndarray | None]:
    """Return the scale of the targets and the class weights; None where a checkpoint has none.

    Those of before have none: their targets were used as they are.
    """
    scale = TargetScale.from_facts(snapshot.state.get("targets"))
    weights = snapshot.state.get("class_weights")
    if scale and len(scale.mean) != len(list(snapshot.parameters.values())[-1]):
        raise CheckpointError(f"{file} states a scale of other targets: use another checkpoint")
    return scale, None if weights is None else np.array(weights)


def taught_by(trained: Trained) -> Taught:
    """Return what a checkpoint says of the training file. Raises CheckpointError."""
    facts = trained.snapshot.state["data"]
    # Checkpoints of before have none.
    text, preparation = facts.get("preparation", ""), None
    if text:
        try:
            preparation = Preparation.from_json(text)
        except DataError as error:
            raise CheckpointError(f"{trained.path}: {error}") from None
        if preparation.width != facts["inputs"] or len(preparation.classes) != facts["classes"]:
            raise CheckpointError(
                f"{trained.path}: the preparation kept in it is of another table: use another "
                "checkpoint of its run"
            )
    network = trained.network
    return Taught(
        str(trained.path), network.shapes[0], network.outputs, facts["classes"],
        trained.normalization, tuple(facts["class_names"]), preparation,
    )  # fmt: skip


def _same(path: str, other: str) -> bool:
    """Tell whether two paths are of one file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.abspath(path) == os.path.abspath(other)
