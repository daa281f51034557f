"""Losses with their gradients, sums of losses and products on a GPU: what a step launches.

Each function returns launches, which are run at once or kept for a CUDA graph: both have the same
bits.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from disttrain.arrays.gpu_kernels import COUNT, room
from disttrain.arrays.gpu_launch import Launch, launch, launch_blocks

__all__ = ["multiplying", "softmax", "squared", "tally", "weighted_softmax"]

Array = Any
# As in the source: threads of a row of outputs, sides of a tile.
WARP, SIDE, DEEP = 32, 64, 16
# Blocks of threads that a product is cut into, where its sums are long enough; the same for every
# GPU, so that all give the same bits. The least length of a part of a sum.
BLOCKS, LEAST = 256, 64


def softmax(outputs: Array, classes: Array, f: Array, losses: Array) -> Launch:
    """`losses` (float64) = -log of the softmax at the class, `f` = its gradient."""
    given = outputs.shape[1], outputs, classes, f, losses
    return launch_blocks("softmax", outputs.dtype, (len(outputs),), (WARP,), *given)


def weighted_softmax(
    outputs: Array, classes: Array, weights: np.ndarray[Any, Any], keep: float, part: float,
    f: Array, losses: Array,
) -> Launch:  # fmt: skip
    """The same with the weight of each class (on the host, in the outputs' dtype) and smoothing.

    `keep` is `1-ε` and `part` `ε/K` of `WeightedSoftmax`.
    """
    spread = float(part * weights.sum())
    given = outputs, classes, cupy.asarray(weights), float(keep), float(part), spread, f, losses
    grid = (len(outputs),)
    return launch_blocks("weighted_softmax", outputs.dtype, grid, (WARP,), outputs.shape[1], *given)


def squared(
    outputs: Array, targets: Array, f: Array, losses: Array, factors: Array | None = None
) -> Launch:
    """`losses` (float64) = the sums of squares, each times its factor; `f` = twice the difference.

    `targets` are numbers, or classes (int64).
    """
    of_classes = targets.dtype.kind in "iu"
    both = (None, targets) if of_classes else (targets, None)
    given = outputs.shape[1], outputs, *both, factors, f, losses
    return launch_blocks("squared", outputs.dtype, (len(outputs),), (WARP,), *given)


def tally(
    losses: Array, header: Array, unit: int, dtype: Any, place: int = -1,
    outputs: Array | None = None, classes: Array | None = None,
) -> Launch:  # fmt: skip
    """Add the sum of losses to `header[unit]`; to `place` how many rows are right, then rows."""
    units = 0 if outputs is None else outputs.shape[1]
    given = len(losses), losses, header, unit, place, units, outputs, classes
    return launch_blocks("tally", dtype, (1,), (COUNT,), *given)


def multiplying(a: Array, b: Array, out: Array) -> list[Launch]:
    """`out = a b`; all have two axes, `out` lies in one run, `a` and `b` have any strides."""
    (rows, depth), columns, size = a.shape, b.shape[1], a.dtype.itemsize
    tiles = -(-columns // SIDE), -(-rows // SIDE)
    most = max(1, min(BLOCKS // max(1, math.prod(tiles)), depth // LEAST))
    chunk = max(DEEP, -(-depth // most // DEEP) * DEEP)
    parts = max(1, -(-depth // chunk))
    sums = out if parts == 1 else room("product", parts * out.size, out.dtype)
    strides = [stride // size for stride in (*a.strides, *b.strides)]
    made = [launch_blocks("product", a.dtype, (*tiles, parts), (256,), rows, columns, depth, chunk,
                          a, *strides[:2], b, *strides[2:], sums)]  # fmt: skip
    if parts > 1:
        made.append(launch("add_parts", out.dtype, out.size, parts, sums, out))
    return made
