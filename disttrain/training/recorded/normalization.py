"""Noting layer and batch normalization: their `forward` and `asking`, as calls of recording.c."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.arrays.recording import Program
from disttrain.model import BatchNorm, Context, LayerNorm
from disttrain.model.passes import Asking

__all__ = ["batch_norm", "batch_norm_asking", "layer_norm"]

Back = Callable[[Array], "Array | None"]
# Numbers in a row of a loop, at least: few channels are taken several times.
LONG = 256


def layer_norm(
    program: Program, layer: LayerNorm, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `LayerNorm.forward`."""
    scale, shift = ctx.values["scale"], ctx.values["shift"]
    sizes = len(x), math.prod(x.shape[1:])
    hat, y = ctx.array("normalized", x.shape), ctx.array("output", x.shape)
    inverse, scratch = program.empty(sizes[:1], x.dtype), program.empty((max(sizes),), x.dtype)
    program.note("layer_norm", (x, scale, shift, hat, inverse, y), sizes, (layer.epsilon,))

    def backward(dy: Array) -> Array:
        own = ctx.gradients["scale"], ctx.gradients["shift"]
        program.note("layer_norm_gradient", (dy, hat, inverse, scale, *own, scratch), sizes)
        return dy

    return y, backward


def batch_norm(
    program: Program, layer: BatchNorm, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `BatchNorm.forward` at prediction."""
    y, _, _ = note_normalizing(program, layer, x, ctx, 0, (0, 0))
    return y, lambda dy: None


def batch_norm_asking(
    program: Program, layer: BatchNorm, x: Array, ctx: Context
) -> Asking[tuple[Array, Any]]:
    """Note `BatchNorm.asking`: yields where the sums of these rows are, is sent where all are."""
    scale, gradients = ctx.values["scale"], ctx.gradients
    channels = len(scale)
    sizes = x.size // channels, channels
    first, second = program.empty((2 * channels + 1,), "f8"), program.empty((2 * channels,), "f8")
    column = np.empty(sizes[0] if channels == 1 else 0)
    program.note("batch_sums", (x, 0, first, column), sizes)
    totals = yield first
    moved = gradients["mean"], gradients["variance"]
    y, hat, inverse = note_normalizing(program, layer, x, ctx, totals, moved)
    width = channels * max(1, LONG // channels)
    scratch = np.empty(3 * width, x.dtype)

    def backward(dy: Array) -> Generator[Array, Array, Array]:
        own = gradients["shift"], gradients["scale"]
        program.note("batch_sums", (dy, hat, second, column, *own), sizes)
        back = yield second
        given = dy, hat, back, totals, scale, inverse, scratch
        program.note("batch_norm_gradient", given, (*sizes, width))
        return dy

    return y, backward


def note_normalizing(
    program: Program, layer: BatchNorm, x: Array, ctx: Context, totals: Array | int,
    moved: tuple[Any, Any],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Note what follows the sums; return `y`, the normalized numbers and the inverse deviations."""
    values, channels = ctx.values, len(ctx.values["scale"])
    hat, y = ctx.array("normalized", x.shape), ctx.array("output", x.shape)
    mean, inverse = program.empty((channels,), x.dtype), program.empty((channels,), x.dtype)
    arrays = totals, values["mean"], values["variance"], *moved, mean, inverse
    program.note("batch_moments", arrays, (channels, len(x)), (layer.momentum, layer.epsilon))
    width = channels * max(1, LONG // channels)
    scratch = np.empty(4 * width, x.dtype)
    given = x, mean, inverse, values["scale"], values["shift"], hat, y, scratch
    program.note("batch_norm", given, (x.size // channels, channels, width))
    return y, hat, inverse
