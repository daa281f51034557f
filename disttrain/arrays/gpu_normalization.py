"""Layer and batch normalization on a GPU, by the kernels in `cuda/`."""

from __future__ import annotations

import math
from typing import Any

from disttrain.arrays.gpu_kernels import PART, room
from disttrain.arrays.gpu_launch import Launch, launch, launch_blocks
from disttrain.arrays.gpu_losses import WARP

__all__ = [
    "batch_norm", "batch_norm_gradient", "batch_sums", "layer_norm", "layer_norm_gradient",
]  # fmt: skip

Array = Any


def layer_norm(
    x: Array, scale: Array, shift: Array, hat: Array, inverse: Array, y: Array, epsilon: float
) -> Launch:
    """Return the launch for `y = hat scale + shift`, `hat = (x - mean) inverse` of each sample."""
    given = scale.size, x, scale, shift, hat, inverse, y, float(epsilon)
    return launch_blocks("layer_norm", x.dtype, (len(x),), (WARP,), *given)


def layer_norm_gradient(
    dy: Array, hat: Array, inverse: Array, scale: Array, dscale: Array, dshift: Array
) -> list[Launch]:
    """Return the launches that make `dy` the gradient of `x`, and write the parameters'."""
    rows, width = len(dy), scale.size
    part = max(PART, math.isqrt(rows))
    parts = max(1, -(-rows // part))
    shifts, scales = (room(f"layer norm {n}", parts * width, dy.dtype) for n in range(2))
    return [
        launch("layer_norm_sums", dy.dtype, parts * width, rows, width, part, dy, hat, shifts,
               scales),
        launch("add_parts", dy.dtype, width, parts, shifts, dshift),
        launch("add_parts", dy.dtype, width, parts, scales, dscale),
        launch_blocks("layer_norm_gradient", dy.dtype, (rows,), (WARP,), width, dy, hat, inverse,
                      scale),
    ]  # fmt: skip


def batch_sums(
    x: Array, y: Array | None, sums: Array, channels: int, dshift: Array | None = None,
    dscale: Array | None = None,
) -> list[Launch]:  # fmt: skip
    """Return the launches for the sums over pixels of `x` and its squares, or of `x` and `x y`.

    Behind those without `y` stands the number of pixels; those with it go to both gradients too.
    """
    pixels = x.size // channels
    part = max(PART, math.isqrt(pixels))
    parts = max(1, -(-pixels // part))
    each, count = room("batch norm", 2 * parts * channels, "f8"), pixels if y is None else -1
    return [
        launch("batch_sums", x.dtype, parts * channels, pixels, channels, part, x, y, each),
        launch("batch_total", x.dtype, 2 * channels, parts, each, sums, count, dshift, dscale),
    ]


def batch_norm(
    x: Array, totals: Array | None, running: tuple[Array, Array],
    moved: tuple[Array | None, Array | None], mean: Array, inverse: Array, scale: Array,
    shift: Array, hat: Array, y: Array, part: float, epsilon: float,
) -> list[Launch]:  # fmt: skip
    """Return the launches behind the sums over the batch; without totals: those of prediction.

    `mean` and `inverse` are scratch, the second for `batch_norm_gradient`.
    """
    moments = totals, *running, *moved, mean, inverse, float(part), float(epsilon)
    given = mean, inverse, scale, shift, hat, y
    return [
        launch("batch_moments", x.dtype, scale.size, *moments),
        launch("batch_norm", x.dtype, x.size, scale.size, x, *given),
    ]


def batch_norm_gradient(
    dy: Array, hat: Array, totals: Array, forth: Array, scale: Array, inverse: Array
) -> Launch:
    """Return the launch that makes `dy` the gradient of `x`, from the totals of both ways."""
    given = scale.size, dy, hat, totals, forth, scale, inverse
    return launch("batch_norm_gradient", dy.dtype, dy.size, *given)
