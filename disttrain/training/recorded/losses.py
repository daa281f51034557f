"""Noting losses: their `forward`, and the weights of samples, as calls of a program."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.arrays.addresses import loop_function
from disttrain.arrays.recording import NotRecordable, Program
from disttrain.model import Context, Loss, Perceptron, Softmax, Squared
from disttrain.model.losses import SquaredInUnits, WeightedSoftmax

__all__ = ["LOSSES", "note_loss"]

Noted = tuple[Array, Callable[[], Array]]


def note_loss(
    program: Program, loss: Loss, outputs: Array, targets: Array, ctx: Context,
    weights: Array | None = None, first: int = 0,
) -> Noted:  # fmt: skip
    """Note the loss of each sample; return the losses and what notes the gradient.

    `weights` are those of all samples of the split; the first row here is this rank's row `first`.
    """
    refuse_what_does_not_fit(loss, outputs, targets)
    losses, backward = LOSSES[type(loss)](program, loss, outputs, targets, ctx)
    if weights is None:
        return losses, backward
    if weights.dtype != np.float32 or not weights.flags.c_contiguous:
        raise NotRecordable("the weights of samples are not float32 in one run")
    program.note("weigh_losses", (losses, weights), (len(losses), first))

    def note_gradient() -> Array:
        """Note the gradient, multiplied by the samples' weights."""
        d: Array = backward()
        program.note("weigh_gradient", (d, weights), (len(d), first, d[:1].size))
        return d

    return losses, note_gradient


def refuse_what_does_not_fit(loss: Loss, outputs: Array, targets: Array) -> None:
    """Raise NotRecordable where C would read or write beyond an array."""
    in_units, shape = isinstance(loss, SquaredInUnits), outputs.shape[1:]
    given: Any = getattr(loss, "units" if in_units else "class_weights", None)
    if targets.dtype == np.int64:
        fits = targets.ndim == 1 and not in_units
    else:
        fits = math.prod(targets.shape[1:]) == math.prod(shape)
    if not fits or (given is not None and np.shape(given) != shape):
        raise NotRecordable("the targets, or the numbers of the loss, do not fit the outputs")


def of_classes(targets: Array) -> Array:
    """Return targets that are classes."""
    if targets.dtype != np.int64:
        raise NotRecordable("the targets are not classes")
    return targets


def softmax(program: Program, loss: Softmax, outputs: Array, targets: Array, ctx: Context) -> Noted:
    """Note `Softmax.forward`."""
    rows, classes = len(outputs), of_classes(targets)
    f, losses = ctx.array("softmax", outputs.shape), program.empty((rows,), "f8")
    sums = program.empty((2, rows), outputs.dtype)
    program.softmax(outputs, classes, f, sums, losses)

    def backward() -> Array:
        program.softmax_gradient(f, classes, sums)
        return f

    return losses, backward


def weighted_softmax(
    program: Program, loss: WeightedSoftmax, outputs: Array, targets: Array, ctx: Context
) -> Noted:
    """Note `WeightedSoftmax.forward`."""
    (rows, units), classes, dtype = outputs.shape, of_classes(targets), outputs.dtype
    given = np.ones(units) if loss.class_weights is None else loss.class_weights
    w, part = given.astype(dtype), loss.smoothing / units
    exp, log = (loop_function(name, dtype.char) for name in ("exp", "log"))
    f, logs = ctx.array("softmax", outputs.shape), np.empty(outputs.shape, dtype)
    losses, scratch = program.empty((rows,), "f8"), np.empty((3, rows), dtype)
    program.note("weighted_softmax", (outputs, classes, f, logs, scratch, w, losses, exp, log),
                 outputs.shape, (1 - loss.smoothing, part))  # fmt: skip
    arrays = f, classes, logs, scratch, (part * w).astype(dtype), exp

    def backward() -> Array:
        numbers = (float(part * w.sum()),)
        program.note("weighted_softmax_gradient", arrays, outputs.shape, numbers)
        return f

    return losses, backward


def squared(
    program: Program, loss: Squared | SquaredInUnits, outputs: Array, targets: Array, ctx: Context
) -> Noted:
    """Note `Squared.forward`, or that of outputs with units of their own."""
    units = loss.units if isinstance(loss, SquaredInUnits) else None
    difference = ctx.array("difference", outputs.shape)
    losses = program.empty((len(outputs),), "f8")
    program.squared(outputs, targets, difference, losses, units)

    def backward() -> Array:
        program.squared_gradient(difference)
        return difference

    return losses, backward


def perceptron(
    program: Program, loss: Perceptron, outputs: Array, targets: Array, ctx: Context
) -> Noted:
    """Note `Perceptron.forward`, and its rule."""
    if outputs.shape[1] != 1:
        raise NotRecordable("the perceptron's rule is for one unit")
    d, losses = ctx.array("rule", outputs.shape), program.empty((len(outputs),), "f8")
    program.note("perceptron", (outputs, of_classes(targets), d, losses), (len(outputs),))
    return losses, lambda: d


LOSSES: dict[type[Loss], Any] = {
    Softmax: softmax, WeightedSoftmax: weighted_softmax, Squared: squared, SquaredInUnits: squared,
    Perceptron: perceptron,
}  # fmt: skip
