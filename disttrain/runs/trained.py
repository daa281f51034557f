"""Using a trained network: from a checkpoint to scores and predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

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
from disttrain.errors import CheckpointError, DataError, Divergence, UsageError
from disttrain.model import Layer, Loss
from disttrain.training.evaluation import Score
from disttrain.training.predictor import Predictor, build_predictor

__all__ = ["Trained", "load_trained"]


@dataclass
class Trained(Predictor):
    """A network with the weights of a checkpoint, and its normalization."""

    path: Path
    snapshot: Snapshot

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

    def evaluate(self, data: str | None = None, split: str = "test") -> Score:
        """Return loss and accuracy on a split. Collective.

        Raises Divergence on all ranks where the loss is not a finite number.
        """
        score = self.score(self.split(split, data), f"scoring the {split} split")
        if not math.isfinite(score.loss):
            raise Divergence(
                f"the loss of {self.path} on the {split} split is {score.loss}: its outputs are "
                "too large for its targets; look for wild numbers in the data, or train it anew "
                "with a smaller schedule.learning_rate"
            )
        return score


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
        device = choose(kind, comm.local_rank)
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
