"""Losses of single samples, which are added over a batch, never averaged, and their gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from disttrain.arrays import Array
from disttrain.model.passes import Context

__all__ = [
    "Loss",
    "Perceptron",
    "Softmax",
    "Squared",
    "SquaredInUnits",
    "WeightedSoftmax",
    "built_in",
]


class Loss(ABC):
    """A class with `forward`, which returns each sample's loss and the backward function."""

    kind = "loss"

    @abstractmethod
    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the loss of each sample (float64, one a row) and a function for the gradient.

        `outputs` has shape (samples, units); `targets` holds one class a sample (int64) or as many
        numbers as there are units. The function returns `dL/doutputs` for the sum over samples,
        which may be overwritten.
        """


class Softmax(Loss):
    """Cross-entropy of the softmax: `L = -log f_k`, `f = exp(o) / Σ exp(o)`, k the target.

    Its gradient is `f - onehot(k)`. The largest output is subtracted first, so that large outputs
    do not overflow; `-log f_k` is computed as `log Σ exp(o - max) - (o_k - max)`.
    """

    kind = "softmax"

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return `-log f_k` and the function for `f - onehot`."""
        xp = ctx.device.xp
        f = ctx.array("softmax", outputs.shape)
        if not len(outputs):
            return xp.zeros(0, "f8"), lambda: f
        if ctx.device.losses and targets.dtype == np.int64:
            losses = ctx.workspace.array((ctx.name, "losses"), (len(outputs),), "f8")
            ctx.device.losses.softmax(outputs, targets, f, losses)()
            return losses, lambda: f
        rows = xp.arange(len(outputs))
        xp.subtract(outputs, outputs.max(axis=1, keepdims=True), out=f)
        chosen = f[rows, targets]
        xp.exp(f, out=f)
        sums = f.sum(axis=1, keepdims=True)
        loss = (xp.log(sums[:, 0]) - chosen).astype("f8")

        def backward() -> Array:
            xp.divide(f, sums, out=f)
            f[rows, targets] -= 1
            return f

        return loss, backward


class WeightedSoftmax(Softmax):
    """The softmax's cross-entropy with a weight `w_c` for each of K classes, and label smoothing ε.

    `L = -(1-ε) w_k log f_k - ε/K Σ w_c log f_c`, as PyTorch's `cross_entropy` (Szegedy et al.,
    2016); its gradient by the outputs is `(1-ε) w_k (f - onehot(k)) + ε/K (f Σ w_c - w)`.
    `class_weights` None: all are 1.
    """

    def __init__(self, class_weights: np.ndarray | None = None, smoothing: float = 0.0) -> None:
        self.class_weights, self.smoothing = class_weights, smoothing

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the loss of each sample and the function for its gradient."""
        xp, classes = ctx.device.xp, outputs.shape[1]
        if not len(outputs):
            return super().forward(outputs, targets, ctx)
        given = np.ones(classes) if self.class_weights is None else self.class_weights
        f = ctx.array("softmax", outputs.shape)
        if ctx.device.losses and targets.dtype == np.int64:
            losses = ctx.workspace.array((ctx.name, "losses"), (len(outputs),), "f8")
            numbers = given.astype(outputs.dtype), 1 - self.smoothing, self.smoothing / classes
            ctx.device.losses.weighted_softmax(outputs, targets, *numbers, f, losses)()
            return losses, lambda: f
        w, rows = xp.asarray(given.astype(outputs.dtype)), xp.arange(len(outputs))
        xp.subtract(outputs, outputs.max(axis=1, keepdims=True), out=f)
        logs = f - xp.log(xp.exp(f).sum(axis=1, keepdims=True))
        own, part = (1 - self.smoothing) * w[targets], self.smoothing / classes
        loss = (-own * logs[rows, targets] - part * (logs * w).sum(axis=1)).astype("f8")

        def backward() -> Array:
            xp.exp(logs, out=f)
            xp.multiply(f, (own + part * w.sum())[:, None], out=f)
            xp.subtract(f, part * w, out=f)
            f[rows, targets] -= own
            return f

        return loss, backward


class Squared(Loss):
    """`L = Σ (f - y)²` over outputs; its gradient is `2 (f - y)`.

    A class as target stands for its one-hot vector.
    """

    kind = "squared"

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return `Σ (f - y)²` over outputs and the function for `2 (f - y)`."""
        xp = ctx.device.xp
        difference = ctx.array("difference", outputs.shape)
        if ctx.device.losses:
            return _fused(outputs, targets, difference, ctx), lambda: difference
        if targets.dtype.kind in "iu":
            difference[...] = outputs
            difference[xp.arange(len(outputs)), targets] -= 1
        else:
            xp.subtract(outputs, targets.reshape(outputs.shape), out=difference)
        loss = xp.square(difference, dtype="f8").sum(axis=1)

        def backward() -> Array:
            return xp.multiply(difference, 2, out=difference)

        return loss, backward


class SquaredInUnits(Loss):
    """The squared loss of outputs with units of their own, which are trained standardized.

    The loss is in the units of the targets, `L = Σ s² (f-y)²`, s the deviation of each target; the
    gradient is that of the standardized loss, `2 (f-y)`, so that all outputs are learned alike.
    `units` holds the `s²`.
    """

    kind = "squared"

    def __init__(self, units: Array) -> None:
        self.units = units

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return `Σ s² (f-y)²` over outputs and the function for `2 (f - y)`."""
        xp, units = ctx.device.xp, ctx.device.xp.asarray(self.units)
        difference = ctx.array("difference", outputs.shape)
        if ctx.device.losses:
            return _fused(outputs, targets, difference, ctx, units), lambda: difference
        xp.subtract(outputs, targets, out=difference)
        loss = (xp.square(difference, dtype="f8") * units).sum(axis=1)
        return loss, lambda: xp.multiply(difference, 2, out=difference)


def _fused(
    outputs: Array, targets: Array, difference: Array, ctx: Context, units: Array | None = None
) -> Array:
    """Return the squared losses and write their gradient to `difference`, by a kernel for both."""
    losses: Array = ctx.workspace.array((ctx.name, "losses"), (len(outputs),), "f8")
    ctx.device.losses.squared(outputs, targets, difference, losses, units)()
    return losses


class Perceptron(Loss):
    """The number of mistakes of one `sign` unit; its backward is the perceptron's rule.

    Class 0 stands for `y = -1`, class 1 for `y = +1`; a sample with `h != y` is a mistake (so is
    `h = 0`). The function returned gives `-y` for a mistake and else 0: the update is then
    `w = w + α y x`, `b = b + α y` (Rosenblatt, 1958).
    """

    kind = "perceptron"

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return 1 for each mistake, else 0, and the function for the rule."""
        y = (2 * targets - 1).astype(outputs.dtype).reshape(outputs.shape)
        mistakes = outputs != y

        def backward() -> Array:
            return -y * mistakes

        return mistakes.sum(axis=1, dtype="f8"), backward


def built_in(name: str, class_weights: np.ndarray | None = None, smoothing: float = 0.0) -> Loss:
    """Return the loss that a run file names; weights and smoothing are for "softmax"."""
    if name == "softmax" and (class_weights is not None or smoothing):
        return WeightedSoftmax(class_weights, smoothing)
    losses: dict[str, type[Loss]] = {
        "softmax": Softmax,
        "squared": Squared,
        "perceptron": Perceptron,
    }
    return losses[name]()
