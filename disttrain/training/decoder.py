"""The decoder of an autoencoder: the layer that gives back the inputs of another one."""

from __future__ import annotations

import math
from typing import Any

from disttrain.errors import UsageError
from disttrain.model import Conv, Layer
from disttrain.model.layer import Shape

__all__ = ["decoder_of", "encoder_of"]

# What the pre-training of a layer takes over from its table.
KEYS = ("units", "filters", "size", "stride", "padding", "activation", "initializer", "scale",
        "bias")  # fmt: skip


def encoder_of(layer: Layer, shape: Shape) -> dict[str, Any]:
    """Return the table of the layer itself, for inputs of `shape`, as a run file would have it.

    The gradient of a filter is a sum over places, so its rate is divided by their number.
    """
    table = {key: getattr(layer, key) for key in KEYS if hasattr(layer, key)}
    if isinstance(layer, Conv):
        table |= {"kind": "conv", "rate": 1 / math.prod(layer.outputs(shape)[:2])}
    return table


def decoder_of(layer: Layer, shape: Shape, activation: str) -> list[dict[str, Any]]:
    """Return the tables of the decoder behind a layer for inputs of `shape`.

    Behind units it is units; behind a convolution one with as many filters as the inputs have
    channels, of the same size, with the padding that makes the image as large as it was. Raises
    UsageError where no padding does.
    """
    if not isinstance(layer, Conv):
        return [{"units": math.prod(shape), "activation": activation}]
    window = layer.window(shape)
    borders = [of - 1 - before for of, before in zip(window.size, window.before, strict=True)]
    padding = "same" if layer.padding == "same" else max(0, *borders)
    back = Conv(window.image[2], layer.size, 1, padding)
    if window.stride != (1, 1) or back.outputs(layer.outputs(shape)) != window.image:
        raise UsageError(
            "no convolution behind it gives images of the size that it gets: give it stride = 1, "
            'and padding = "same" or less than its size'
        )
    table = encoder_of(back, layer.outputs(shape))
    return [table | {"activation": activation}, {"kind": "flatten"}]
