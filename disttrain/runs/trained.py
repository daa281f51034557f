"""Using a trained network: from a checkpoint to scores and predictions."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.arrays import choose
from disttrain.checkpoint import Snapshot, find, load
from disttrain.comm import Communicator
from disttrain.data import (
    Dataset,
    Normalization,
    Split,
    in_words,
    interchangeable,
    open_dataset,
)
from disttrain.data.labels import class_numbers, numbers_of
from disttrain.errors import CheckpointError, DataError, Divergence, UsageError
from disttrain.model import Layer, Loss
from disttrain.training.evaluation import Score
from disttrain.training.predictor import Predictor, build_predictor, checked_rows

__all__ = ["Trained", "load_trained"]


@dataclass
class Trained(Predictor):
    """A network with the weights of a checkpoint, and its normalization.

    After a training in the same program `summary` is what `summary.json` holds, and `history` its
    intervals, as in `metrics.jsonl`.
    """

    path: Path
    snapshot: Snapshot
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def split(self, name: str, path: str | None = None) -> Split:
        """Return a split of the data of the training, or of the file at `path`. Collective.

        Raises on all ranks for data that the network does not fit (DataError's code), or that have
        no such split.
        """
        settings = self.settings.data
        if path is not None:
            settings = settings.model_copy(update={"path": path})
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            dataset = open_dataset(settings, self.settings.seed, self.comm, only=name)
        with self.comm.together("opening data"):
            if name not in dataset.splits:
                raise UsageError(
                    f"{dataset.file.path} has no split {name!r}: --split takes one of "
                    f"{', '.join(dataset.file.splits)}"
                )
            self._refuse_other_shape(dataset)
            self.normalization.refuse_other_type(dataset.splits[name].rows.dtype)
        return dataset.splits[name]

    def _refuse_other_shape(self, dataset: Dataset) -> None:
        shape, outputs = self.network.shapes[0], self.network.outputs
        if not interchangeable(dataset.shape, shape):
            raise DataError(
                f"data file {dataset.file.path} has {in_words(dataset.shape)} a sample, but the "
                f"network of {self.path} takes {in_words(shape)}: give the data that it was made "
                "for"
            )
        trained_on_classes = bool(self.snapshot.state["data"]["classes"])
        # One output tells two classes apart.
        most = max(outputs, 2)
        fits = dataset.outputs <= most if dataset.classes else dataset.outputs == outputs
        if not fits or trained_on_classes != bool(dataset.classes):
            kind = "classes" if dataset.classes else "numbers a sample"
            raise DataError(
                f"data file {dataset.file.path} has {dataset.outputs} {kind} as targets, which the "
                f"{outputs} outputs of {self.path} do not fit: give the data that it was made for"
            )

    def evaluate(self, data: Any = None, targets: Any = None, *, split: str | None = None) -> Score:
        """Return loss and accuracy. Collective.

        `evaluate(X, y)` is for arrays, `evaluate("data.h5")` for another file, `evaluate()` for the
        data of the training: there the rows of `split`, "test" where nothing is said. Raises
        Divergence on all ranks where the loss is not a finite number.
        """
        with self.comm.together("opening data"):
            if targets is not None and split is not None:
                raise UsageError(f"split={split!r} is for files: arrays are used whole")
            if targets is None and not isinstance(data, str | os.PathLike | None):
                raise UsageError("evaluate(X) is without targets: give evaluate(X, y)")
            samples = None if targets is None else self._samples(data, targets)
        if samples is None:
            samples = self.split(split or "test", data and os.fspath(data))
        score = self.score(samples, f"scoring the {samples.name} split")
        if not math.isfinite(score.loss):
            raise Divergence(
                f"the loss of {self.path} on the {samples.name} split is {score.loss}: its outputs "
                "are too large for its targets; look for wild numbers in the data, or train it "
                "anew with a smaller schedule.learning_rate"
            )
        return score

    def predict(self, inputs: Any, everywhere: bool = True) -> np.ndarray | None:
        """Return the predictions for raw `inputs` (samples first). Collective.

        Class probabilities where it was trained with the softmax loss, else its outputs; on every
        rank, or where not `everywhere` on rank 0 alone.
        """
        outputs = super().predict(inputs)
        if not everywhere or self.comm.size == 1:
            return outputs
        shape = self.comm.share(outputs.shape if outputs is not None else None)
        found = np.empty(shape, self.network.dtype) if outputs is None else outputs
        found = np.ascontiguousarray(found, self.network.dtype)
        self.comm.broadcast(found)
        return found

    def _samples(self, inputs: Any, targets: Any) -> Split:
        """Return arrays as samples; raise DataError where they do not fit the network."""
        rows = checked_rows(inputs, self.network.shapes[0], self.normalization)
        facts = self.snapshot.state["data"]
        if facts["classes"]:
            found = class_numbers(targets, facts["class_names"])
            wrong = found.size and not 0 <= found.min() <= found.max() < facts["classes"]
        else:
            found = numbers_of(targets)
            wrong = found.shape[1] != self.network.outputs
        if wrong or len(found) != rows.count:
            raise DataError(
                f"targets of shape {np.shape(targets)} do not fit {rows.count} samples and the "
                f"network of {self.path}, which has {facts['classes'] or 'no'} classes and "
                f"{self.network.outputs} outputs"
            )
        return Split("inputs", rows, found)


def load_trained(
    path: str | Path,
    comm: Communicator,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
) -> Trained:
    """Return the network in a checkpoint, or the best one of a run folder. Collective.

    Raises on all ranks, with CheckpointError's code, where the file is missing or torn, or was made
    by a script with a loss or layers of its own, which must then be given here too.
    """
    with comm.together("loading the checkpoint"):
        file = find(Path(path))
        snapshot = load(file)
        settings = snapshot.settings(file)
        settings = settings.replace(data={"path": snapshot.state["data"]["path"]})
        # A network that was trained on a GPU can be used anywhere.
        kind = "cpu" if settings.device.kind == "cpu" else "auto"
        device = choose(kind, comm.host_rank)
        normalization = Normalization(**snapshot.normalization)
        inputs = int(snapshot.state["data"]["inputs"])
        # Checkpoints of before have no shape: their networks took each sample as a vector.
        shape = tuple(snapshot.state["data"].get("shape", [inputs]))
        if layers is None:
            # Before the network takes memory: the run file in a checkpoint can name any size.
            widths = [inputs, *(layer.units for layer in settings.model.layers)]
            snapshot.refuse_other_count(sum((i + 1) * u for i, u in pairwise(widths)), file)
        model = build_predictor(settings, comm, normalization, shape, device, layers, loss)
        if model.loss.kind != snapshot.state["loss"]:
            raise CheckpointError(
                f"{file} was trained with the loss {snapshot.state['loss']!r} of a script: load it "
                "there, by disttrain.load(path, loss=...)"
            )
        model.network.load(snapshot.parameters, model.network.values)
    return Trained(
        settings, comm, model.network, model.loss, normalization, model.feed, model.loss_context,
        path=file, snapshot=snapshot,
    )  # fmt: skip
