"""Layer normalization on a GPU, by the kernels in `cuda/normalization.cu`."""

from __future__ import annotations

import math
from typing import Any

from disttrain.arrays.gpu_kernels import PART, room
from disttrain.arrays.gpu_launch import Launch, launch, launch_blocks
from disttrain.arrays.gpu_losses import WARP

__all__ = ["layer_norm", "layer_norm_gradient"]

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
