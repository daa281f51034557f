"""Any model that has its parameters in one flat vector, trained by `fit` as a network is.

    class Line:
        parameters = np.zeros(2)

        def loss_and_gradient(self, rows):
            x, y = rows.inputs[:, 0], rows.targets[:, 0]
            off = self.parameters[0] * x + self.parameters[1] - y
            return (off**2).sum(), np.array([2 * (off * x).sum(), 2 * off.sum()])

    disttrain.train(disttrain.Data(X, y), model=Line())

Losses and gradients are sums over rows, never means: ranks add them, and the division by the number
of samples happens once. In exact mode the rows come in leaves, so the bits depend on no rank.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from disttrain.arrays import Array
from disttrain.errors import UsageError
from disttrain.model import Backward, Context, Layer, Loss, Parameter, Shape

__all__ = ["Model", "Rows", "network_of_model"]

# Outputs of a model that predicts nothing: a width that no targets have, so that none is scored.
NOTHING = 17


class Rows(NamedTuple):
    """Rows of a batch: normalized `inputs` (rows, *shape), `targets` (rows,) or (rows, outputs)."""

    inputs: np.ndarray
    targets: np.ndarray


class Model(Protocol):
    """What a model must have. `predict(inputs)`, (rows, outputs), is for scores, if there is one.

    `parameters` is a flat vector of floats, whose type the training has; it is set to the present
    weights, which must not be written to, before each call. `loss_and_gradient` returns the sum of
    the rows' losses and its gradient, a flat vector; and, if it likes, the outputs, so that
    `predict` is not called for the accuracy of the training.
    """

    parameters: Any

    def loss_and_gradient(self, rows: Rows) -> tuple[Any, ...]:
        """Return loss and gradient, sums over rows."""


class _Whole(Layer):
    """The model as the one layer of a network."""

    kind = "model"

    def __init__(self, model: Any, length: int) -> None:
        self.model, self.length = model, length
        self.first = np.array(model.parameters)
        self.gradient: np.ndarray | None = None
        self.inputs: Any = None
        self.training = False

    def outputs(self, shape: Shape) -> Shape:
        """Return how many numbers the model predicts."""
        if not hasattr(self.model, "predict"):
            return (NOTHING,)
        found = np.shape(self.model.predict(np.zeros((1, *shape), self.first.dtype)))
        if len(found) != 2 or found[0] != 1:
            raise UsageError(
                f"predict of {type(self.model).__name__} returned shape {found} for one row: it "
                "must return (rows, outputs)"
            )
        return (int(found[1]),)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return the vector; all of it is subject to weight decay, as in PyTorch."""
        return {"parameters": Parameter((self.length,), lambda draw: self.first)}

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the predictions; in training the loss, which has the targets, fills them in."""
        self.model.parameters = ctx.values["parameters"]
        self.inputs, self.training = x, ctx.pass_.training
        if self.training or not hasattr(self.model, "predict"):
            outputs = ctx.array("output", (len(x), self.outputs_of(x.shape[1:])))
            outputs[...] = 0
        else:
            outputs = np.array(self.model.predict(x), ctx.dtype)

        def backward(dy: Array) -> None:
            ctx.gradients["parameters"][...] = self.gradient

        return outputs, backward

    def outputs_of(self, shape: Shape) -> int:
        """Return the same as a number, found once."""
        if not hasattr(self, "_width"):
            (self._width,) = self.outputs(shape)
        return self._width


class _Sum(Loss):
    """The model's own loss: it takes the inputs that the layer was given."""

    kind = "model"

    def __init__(self, layer: _Whole) -> None:
        self.layer = layer

    def forward(self, outputs: Array, targets: Array, ctx: Context) -> tuple[Array, Any]:
        """Return the sum of the losses of all rows, and the gradient's place holder."""
        layer, model = self.layer, self.layer.model
        if not len(targets):
            layer.gradient = np.zeros(layer.length, layer.first.dtype)
            return np.zeros(0), lambda: outputs
        loss, gradient, *more = model.loss_and_gradient(Rows(layer.inputs, targets))
        layer.gradient = np.asarray(gradient)
        if layer.gradient.shape != (layer.length,):
            raise UsageError(
                f"loss_and_gradient of {type(model).__name__} returned a gradient of shape "
                f"{layer.gradient.shape}, but parameters have {layer.length} numbers"
            )
        if layer.training and (more or targets.dtype.kind in "iu"):
            outputs[...] = more[0] if more else model.predict(layer.inputs)
        # Without axes: where rows have weights, which a sum can't take in, that is refused.
        return np.asarray(np.sum(loss, dtype="f8")), lambda: outputs


def network_of_model(model: Any) -> tuple[list[Layer], Loss, str]:
    """Return the layers, the loss and the dtype that stand for a model. Raises UsageError."""
    vector = np.asarray(getattr(model, "parameters", None))
    if vector.ndim != 1 or vector.dtype.name not in ("float32", "float64") or not vector.size:
        raise UsageError(
            f"parameters of {type(model).__name__} are {vector.dtype} of shape {vector.shape}: "
            "give one flat vector of float32 or float64"
        )
    if not callable(getattr(model, "loss_and_gradient", None)):
        raise UsageError(
            f"{type(model).__name__} has no loss_and_gradient(rows), which returns the sum of the "
            "rows' losses and its gradient"
        )
    # Named as the user's own class, so that a checkpoint says whose it is.
    kind = type(type(model).__name__, (_Whole,), {"__module__": type(model).__module__})
    layer = kind(model, vector.size)
    return [layer], _Sum(layer), vector.dtype.name
