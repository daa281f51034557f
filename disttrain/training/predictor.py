"""A network with its normalization and loss, to be used on raw inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from disttrain.arrays import Cpu, Device, Workspace
from disttrain.comm import Communicator
from disttrain.config import LayerTable, Settings
from disttrain.data import Feed, Normalization, Split, TargetScale
from disttrain.data.given import checked_rows
from disttrain.errors import UsageError
from disttrain.model import (
    BUILT_IN,
    Context,
    Dropout,
    Layer,
    Loss,
    Network,
    Shape,
    Softmax,
    Squared,
)
from disttrain.model.losses import SquaredInUnits, built_in
from disttrain.training.evaluation import Score, evaluate, judged, outputs_of

__all__ = ["Predictor", "build_predictor", "layer_from", "stacked"]


@dataclass
class Predictor:
    """A network with all that is needed to use it on raw inputs, by all ranks together."""

    settings: Settings
    comm: Communicator
    network: Network
    loss: Loss
    normalization: Normalization
    feed: Feed
    loss_context: Context

    @property
    def loss_unit(self) -> float:
        """What the loss of the network is multiplied by to be in the units of the targets."""
        scale = self.feed.scale
        return float(scale.loss_units[0]) if scale and isinstance(self.loss, Squared) else 1.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.network.widths}, {self.loss.kind}>"

    def score(self, split: Split, phase: str = "scoring", everyone: bool = True) -> Score:
        """Return loss and accuracy on a split of a data set. Collective."""
        if not isinstance(split, Split):
            raise UsageError("score takes a Split of a data set: evaluate(X, y) is for arrays")
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            return evaluate(
                partial(self.judged, split), self.loss, self.feed, split, self.comm, phase,
                everyone, self.loss_unit,
            )  # fmt: skip

    def judged(self, split: Split, samples: np.ndarray) -> tuple[Any, ...]:
        """Return the sums of some samples that a score is made of."""
        return judged(self.network, self.loss, self.loss_context, self.feed, split, samples)

    def predict(self, inputs: Any, everywhere: bool = True) -> np.ndarray | None:
        """Return the predictions for raw `inputs` (samples first). Collective.

        They are class probabilities where the loss is softmax, else the network's outputs; on every
        rank, or where not `everywhere` on rank 0 alone. A sample may be given flat, or with its
        axes.
        """
        with self.comm.together("predicting"):
            rows = checked_rows(inputs, self.network.shapes[0], self.normalization)
        found = self.predict_split(Split("inputs", rows, np.zeros(rows.count, np.int64)))
        return self._shared(found) if everywhere else found

    def _shared(self, outputs: np.ndarray | None) -> np.ndarray:
        """Return rank 0's `outputs` on every rank. Collective."""
        if self.comm.size == 1 and outputs is not None:
            return outputs
        shape = self.comm.share(outputs.shape if outputs is not None else None)
        found = np.empty(shape, self.network.dtype) if outputs is None else outputs
        found = np.ascontiguousarray(found, self.network.dtype)
        self.comm.broadcast(found)
        return found

    def predict_split(self, split: Split) -> np.ndarray | None:
        """Return the predictions for a split's samples on rank 0, else None. Collective.

        They are NaN for samples with gaps.
        """
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            outputs = outputs_of(self.network, self.feed, split, self.comm, self._finished)
        if outputs is not None:
            outputs[split.rows.gaps] = np.nan
        return outputs

    def _finished(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs of the network (float64) as probabilities, or in the targets' units."""
        if not isinstance(self.loss, Softmax):
            return self.feed.scale.undo(outputs) if self.feed.scale else outputs
        # Rows with gaps may hold anything.
        with np.errstate(over="ignore", invalid="ignore"):
            np.exp(outputs - outputs.max(axis=1, keepdims=True), out=outputs)
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs


def build_predictor(
    settings: Settings,
    comm: Communicator,
    normalization: Normalization,
    shape: Shape,
    device: Device | None = None,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    scale: TargetScale | None = None,
    class_weights: np.ndarray | None = None,
) -> Predictor:
    """Return the network of `settings`, with its initial weights, for samples of `shape`.

    `scale` is that of the targets which it is trained on; `class_weights` are for its loss.
    """
    device = device or Cpu()
    stack = layers or list(stacked(settings))
    dtype = settings.model.dtype
    network = Network(stack, shape, dtype, device, settings.seed)
    context = Context("loss", device, dtype, Workspace(device.empty), {})
    feed = Feed(normalization, shape, dtype, device, scale)
    loss = loss or built_in(settings.model.loss, class_weights, settings.training.label_smoothing)
    if scale and len(scale.mean) > 1:
        loss = SquaredInUnits(scale.loss_units)
    return Predictor(settings, comm, network, loss, normalization, feed, context)


def layer_from(table: LayerTable) -> Layer:
    """Return the layer that a table of the settings describes."""
    return BUILT_IN[table.kind](**table.model_dump(exclude={"kind", "dropout"}))


def stacked(settings: Settings) -> Iterator[Layer]:
    """Yield the layers that the settings name."""
    if settings.model.input_dropout:
        yield Dropout(settings.model.input_dropout)
    for layer in settings.model.layers:
        yield layer_from(layer)
        if dropout := getattr(layer, "dropout", 0.0):
            yield Dropout(dropout)
