"""Noting convolution and pooling: their `forward`, as calls of images.c."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.arrays.cpu_kernels import SLOPED
from disttrain.arrays.recording import NotRecordable, Program
from disttrain.arrays.windows import Window
from disttrain.model import Context, Conv
from disttrain.model.layers.pooling import Pool

__all__ = ["conv", "pool"]

Back = Callable[[Array], "Array | None"]


def conv(
    program: Program, layer: Conv, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Conv.forward`."""
    weight, bias = ctx.values["weight"], ctx.values.get("bias")
    window = layer.window(x.shape[1:])
    pixels = x.reshape(len(x), *window.image)
    h = ctx.array("output", (len(x), *window.out, layer.filters))
    rows = h.reshape(-1, layer.filters)
    plain, relu = layer.activation in ("identity", "relu"), layer.activation == "relu"
    inside = bias if plain else None
    packed = note_packing(program, ctx, window, weight, turned=False)
    note(program, ctx, "convolve", window, layer.filters, relu, pixels, packed, inside, h)
    kept, slope = rows, None
    if not plain:
        own = ctx.device.put(np.zeros(layer.filters, h.dtype)) if bias is None else bias
        if layer.activation in SLOPED and ctx.pass_.training:
            slope = kept = ctx.array("slope", rows.shape)
        program.activate(rows, own, layer.activation, slope)

    def backward(dh: Array) -> Array | None:
        dbias = ctx.gradients.get("bias")
        if not plain:
            into = ctx.array("bias gradient", (layer.filters,)) if dbias is None else dbias
            drows = dh.reshape(rows.shape)
            program.activation_gradient(drows, kept, layer.activation, into)
            dbias = None
        dx = ctx.array("input gradient", pixels.shape) if ctx.needs_input_gradient else None
        turned = None if dx is None else note_packing(program, ctx, window, weight, turned=True)
        note(program, ctx, "convolve_gradient", window, layer.filters, relu, pixels, h, dh, turned,
             ctx.gradients["weight"], dbias, dx)  # fmt: skip
        return None if dx is None else dx.reshape(x.shape)

    return h, backward


def pool(
    program: Program, layer: Pool, x: Array, ctx: Context, keys: Sequence[str]
) -> tuple[Array, Back]:
    """Note `Pool.forward`."""
    window, largest = layer.window(x.shape[1:]), layer.largest
    pixels, channels = x.reshape(len(x), *window.image), window.image[2]
    y = ctx.array("output", (len(x), *window.out, channels))
    note(program, ctx, "pool", window, channels, largest, pixels, y)

    def backward(dy: Array) -> Array:
        dx = ctx.array("input gradient", pixels.shape)
        dys = dy.reshape(y.shape)
        note(program, ctx, "pool_gradient", window, channels, largest, pixels, y, dys, dx)
        return dx.reshape(x.shape)

    return y.reshape(len(x), *layer.outputs(x.shape[1:])), backward


def note_packing(
    program: Program, ctx: Context, window: Window, weight: Array, turned: bool
) -> Array:
    """Note, once a step, that filters are put in the order in which C reads them; return these."""
    key = weight.ctypes.data, turned
    if key not in program.packed:
        call = ctx.device.images.pack(weight, window, turned)
        if call is None:
            raise NotRecordable("convolution was not built in C")
        program.function(call)
        program.packed[key] = call.held[-1]
    return program.packed[key]


def note(
    program: Program, ctx: Context, name: str, window: Window, filters: int, flag: bool,
    *arrays: Any,
) -> None:  # fmt: skip
    """Note a function of images.c. Raises NotRecordable where it was not built."""
    images = ctx.device.images
    call = images.call(name, window, filters, flag, *arrays)
    if call is None:
        raise NotRecordable("convolution was not built in C")
    program.function(call)
