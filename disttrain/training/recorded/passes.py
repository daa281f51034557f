"""Noting a pass through built-in layers: their `forward`, as calls of a program.

Each function mirrors that of the layer of its name, call by call: both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from disttrain.arrays import Array
from disttrain.arrays.cpu_kernels import SLOPED
from disttrain.arrays.recording import Program
from disttrain.model import (
    AveragePool,
    BatchNorm,
    Context,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    Network,
    Pass,
)
from disttrain.model.network import Ask, together
from disttrain.model.passes import times
from disttrain.training.recorded.images import conv, pool
from disttrain.training.recorded.normalization import batch_norm, batch_norm_asking, layer_norm

__all__ = ["LAYERS", "note_backward", "note_forward"]

Back = Callable[[Array], "Array | None"]
BackTogether = Callable[[Sequence[Array], Callable[[int], None]], list[Any]]


def note_forward(
    program: Program, network: Network, inputs: Sequence[Array], passes: Sequence[Pass],
    keys: Sequence[str] = (), ask: Ask | None = None,
) -> tuple[list[Array], list[BackTogether]]:  # fmt: skip
    """Note passes under way at once; return their outputs and the functions that note the way back.

    `keys` are the names of the dropout layers, in the order of the block's keys. `ask` notes the
    sums over the global batch of what the passes' layers have yielded; at prediction none do.
    """
    xs, backs = list(inputs), list[BackTogether]()
    for layer, *contexts in zip(network.layers, *map(network.contexts, passes), strict=True):
        pairs, kind = zip(xs, contexts, strict=True), type(layer)
        if ask and kind in ASKING:
            done = together([ASKING[kind](program, layer, x, ctx) for x, ctx in pairs], ask)
            backs.append(partial(back_together, [back for _, back in done], ask))
        else:
            done = [LAYERS[kind](program, layer, x, ctx, keys) for x, ctx in pairs]
            backs.append(partial(back_alone, [back for _, back in done]))
        xs = [x for x, _ in done]
    return xs, backs


def back_together(
    backs: Sequence[Any], ask: Ask, dys: Sequence[Array], done: Callable[[int], None]
) -> list[Any]:
    """Note the way back through a layer that asks for sums over the batch."""
    dxs = together([back(dy) for back, dy in zip(backs, dys, strict=True)], ask)
    for place in range(len(dxs)):
        done(place)
    return dxs


def back_alone(
    backs: Sequence[Back], dys: Sequence[Array], done: Callable[[int], None]
) -> list[Any]:
    """Note the way back through any other layer."""
    dxs = []
    for place, (back, dy) in enumerate(zip(backs, dys, strict=True)):
        dxs.append(back(dy))
        done(place)
    return dxs


def note_backward(
    backs: Sequence[BackTogether], dys: Sequence[Any], done: Callable[[int, int], None]
) -> None:
    """Note the way back from the gradients of the outputs, as `Network.forward` goes it.

    `done(layer, place)` notes what follows where a pass has a layer's gradients.
    """
    for layer in reversed(range(len(backs))):
        if dys[0] is not None:
            dys = backs[layer](dys, partial(done, layer))


def dense(
    program: Program, layer: Dense, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Dense.forward`."""
    weight, bias = ctx.values["weight"], ctx.values["bias"]
    tiles = ctx.pass_.tile, ctx.pass_.tiles

    rows = x.reshape(len(x), weight.shape[1])
    h = times(program.product, rows, weight.T, ctx.array("output", (len(x), layer.units)), *tiles)
    sloped = layer.activation in SLOPED and ctx.pass_.training
    kept = ctx.array("slope", h.shape) if sloped else h
    program.activate(h, bias, layer.activation, kept if sloped else None)

    def backward(dh: Array) -> Array | None:
        program.activation_gradient(dh, kept, layer.activation, ctx.gradients["bias"])
        if ctx.pass_.take is None:
            program.product(dh.T, rows, ctx.gradients["weight"])
        else:
            ctx.pass_.take(ctx.number, dh, rows)
        if not ctx.needs_input_gradient:
            return None
        dx = times(program.product, dh, weight, ctx.array("input gradient", rows.shape), *tiles)
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
    GlobalAveragePool: pool, LayerNorm: layer_norm, BatchNorm: batch_norm,
}  # fmt: skip
# Layers that in training ask for sums over the global batch.
ASKING: dict[type[Layer], Any] = {BatchNorm: batch_norm_asking}
