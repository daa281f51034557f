"""A network with its normalization and loss, to be used on raw inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disttrain.arrays import Cpu, Device, Workspace
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import ArrayRows, Feed, Normalization, Split, in_words, interchangeable
from disttrain.errors import DataError
from disttrain.model import Context, Dense, Dropout, Layer, Loss, Network, Shape, Softmax
from disttrain.model.losses import built_in
from disttrain.training.evaluation import Score, evaluate, outputs_of

__all__ = ["Predictor", "build_predictor", "checked_rows", "stacked"]


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

    def score(self, split: Split, phase: str, everyone: bool = True) -> Score:
        """Return loss and accuracy on a split. Collective."""
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            return evaluate(
                self.network, self.loss, self.loss_context, self.feed, split, self.comm, phase,
                everyone,
            )  # fmt: skip

    def predict(self, inputs: Any) -> np.ndarray | None:
        """Return the predictions for raw `inputs` (samples first) on rank 0, else None. Collective.

        They are class probabilities where the loss is softmax, else the network's outputs. A sample
        may be given flat, or with its axes.
        """
        with self.comm.together("predicting"):
            rows = checked_rows(inputs, self.network.shapes[0], self.normalization)
        return self.predict_split(Split("inputs", rows, np.zeros(rows.count, np.int64)))

    def predict_split(self, split: Split) -> np.ndarray | None:
        """Return the predictions for a split's samples on rank 0, else None. Collective."""
        with self.comm.watch.armed(self.settings.communication.deadline_seconds):
            outputs = outputs_of(self.network, self.feed, split, self.comm)
        if outputs is None or not isinstance(self.loss, Softmax):
            return outputs
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
        return probabilities


def checked_rows(given: Any, shape: Shape, normalization: Normalization) -> ArrayRows:
    """Return `given` as samples like those of the training, or raise DataError."""
    try:
        inputs = np.asarray(given)
    except ValueError as error:
        raise DataError(f"the inputs are no array ({error}): give rows of one length") from None
    if inputs.dtype.kind not in "iufb" or inputs.ndim < 1 or not len(inputs):
        raise DataError(f"inputs of shape {inputs.shape}, {inputs.dtype}, are not rows of numbers")
    if not interchangeable(inputs.shape[1:], shape):
        raise DataError(
            f"inputs have {in_words(inputs.shape[1:])} a sample, the network takes "
            f"{in_words(shape)}: give inputs like those of the training"
        )
    normalization.refuse_other_type(inputs.dtype)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError("the inputs hold NaN or infinity: mend them first")
    return ArrayRows(inputs)


def build_predictor(
    settings: Settings,
    comm: Communicator,
    normalization: Normalization,
    shape: Shape,
    device: Device | None = None,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
) -> Predictor:
    """Return the network of `settings`, with its initial weights, for samples of `shape`."""
    device = device or Cpu()
    stack = layers or list(stacked(settings))
    dtype = settings.model.dtype
    network = Network(stack, shape, dtype, device, settings.seed)
    context = Context("loss", device, dtype, Workspace(device.empty), {})
    feed = Feed(normalization, shape, dtype, device)
    loss = loss or built_in(settings.model.loss)
    return Predictor(settings, comm, network, loss, normalization, feed, context)


def stacked(settings: Settings) -> Iterator[Layer]:
    """Yield the layers that the settings name."""
    if settings.model.input_dropout:
        yield Dropout(settings.model.input_dropout)
    for layer in settings.model.layers:
        yield Dense(layer.units, layer.activation, layer.initializer, layer.scale, layer.bias)
        if layer.dropout:
            yield Dropout(layer.dropout)
