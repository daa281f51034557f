"""Noting a pass through built-in layers and losses: their `forward`, as calls of a program.

Each function mirrors that of the layer or loss of its name, call by call: both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.arrays.recording import NotRecordable, Program
from disttrain.model import (
    AveragePool,
    Context,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    Loss,
    MaxPool,
    Network,
    Pass,
    Softmax,
    Squared,
)
from disttrain.model.losses import SquaredInUnits
from disttrain.model.passes import times
from disttrain.training.recorded.images import conv, pool

__all__ = ["LAYERS", "LOSSES", "note_backward", "note_forward", "note_loss"]

Back = Callable[[Array], "Array | None"]


def note_forward(
    program: Program, network: Network, inputs: Array, pass_: Pass, keys: Sequence[str]
) -> tuple[Array, list[Back]]:
    """Note a forward pass; return its outputs and the functions that note the way back.

    `keys` are the names of the dropout layers, in the order of the block's keys.
    """
    backs = []
    for layer, ctx in zip(network.layers, network.contexts(pass_), strict=True):
        inputs, back = LAYERS[type(layer)](program, layer, inputs, ctx, keys)
        backs.append(back)
    return inputs, backs


def note_backward(backs: Sequence[Back], dy: Array | None) -> None:
    """Note the way back from the gradient of the outputs, as `Network.forward` goes it."""
    for back in reversed(backs):
        if dy is not None:
            dy = back(dy)


def dense(
    program: Program, layer: Dense, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Dense.forward`."""
    weight, bias = ctx.values["weight"], ctx.values["bias"]
    tile = ctx.pass_.tile

    rows = x.reshape(len(x), weight.shape[1])
    h = times(program.product, rows, weight.T, ctx.array("output", (len(x), layer.units)), tile)
    program.activate(h, bias, layer.activation)

    def backward(dh: Array) -> Array | None:
        program.activation_gradient(dh, h, layer.activation, ctx.gradients["bias"])
        if ctx.pass_.take is None:
            program.product(dh.T, rows, ctx.gradients["weight"])
        else:
            ctx.pass_.take(ctx.number, dh, rows)
        if not ctx.needs_input_gradient:
            return None
        dx = times(program.product, dh, weight, ctx.array("input gradient", rows.shape), tile)
        return dx.reshape(x.shape)

    return h, backward


def dropout(
    program: Program, layer: Dropout, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Dropout.forward`."""
    if not ctx.pass_.training:
        return x, lambda dy: dy
    mask, y = ctx.array("mask", x.shape), ctx.array("output", x.shape)
    program.dropout(
        x, mask, y, ctx.pass_.first_row, layer.limit, keys.index(ctx.name), layer.factor
    )

    def backward(dy: Array) -> Array:
        program.multiply(dy, mask)
        return dy

    return y, backward


def flatten(
    program: Program, layer: Flatten, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Flatten.forward`: nothing is computed."""
    return x.reshape(len(x), math.prod(x.shape[1:])), lambda dy: dy.reshape(x.shape)


LAYERS: dict[type[Layer], Any] = {
    Dense: dense, Dropout: dropout, Flatten: flatten, Conv: conv, MaxPool: pool, AveragePool: pool,
    GlobalAveragePool: pool,
}  # fmt: skip


def note_loss(
    program: Program, loss: Loss, outputs: Array, targets: Array, ctx: Context
) -> tuple[Array, Callable[[], Array]]:
    """Note the loss of each sample; return the losses and what notes the gradient."""
    return LOSSES[type(loss)](program, loss, outputs, targets, ctx)  # type: ignore[no-any-return]


def softmax(
    program: Program, loss: Softmax, outputs: Array, targets: Array, ctx: Context
) -> tuple[Array, Callable[[], Array]]:
    """Note `Softmax.forward`."""
    if targets.dtype != np.int64:
        raise NotRecordable("the targets are no classes")
    rows = len(outputs)
    f, losses = ctx.array("softmax", outputs.shape), np.empty(rows)
    sums = np.empty((2, rows), outputs.dtype)
    program.softmax(outputs, targets, f, sums, losses)

    def backward() -> Array:
        program.softmax_gradient(f, targets, sums)
        return f

    return losses, backward


def squared(
    program: Program, loss: Squared | SquaredInUnits, outputs: Array, targets: Array, ctx: Context
) -> tuple[Array, Callable[[], Array]]:
    """Note `Squared.forward`, or that of outputs with units of their own."""
    units = loss.units if isinstance(loss, SquaredInUnits) else None
    difference, losses = ctx.array("difference", outputs.shape), np.empty(len(outputs))
    program.squared(outputs, targets, difference, losses, units)

    def backward() -> Array:
        program.squared_gradient(difference)
        return difference

    return losses, backward


LOSSES: dict[type[Loss], Any] = {Softmax: softmax, Squared: squared, SquaredInUnits: squared}
