"""Launches for what a step notes by name: the calls of `recording.Program.note`, on a GPU.

Each function is given the arrays (None for an address 0), sizes and numbers of the call, and leaves
alone what only a processor needs: scratch, and the addresses of numpy's functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.arrays.gpu_launch import Launch, launch
from disttrain.arrays.gpu_losses import weighted_softmax
from disttrain.arrays.gpu_normalization import (
    batch_norm_gradient,
    batch_sums,
    layer_norm,
    layer_norm_gradient,
)

__all__ = ["launches_of"]

Array = Any
Given = Sequence[Any]


def launches_of(
    name: str, arrays: Given, sizes: Sequence[int], numbers: Sequence[float], dtype: np.dtype[Any],
    samples: Array,
) -> list[Launch]:  # fmt: skip
    """Return the launches of call `name`; `samples` are the numbers of a step's, on the GPU."""
    if name in OF_SAMPLES:
        # The second size is the place of the first row among this rank's samples.
        rows, first = sizes[:2]
        return OF_SAMPLES[name](dtype, *arrays, samples[first : first + rows], *sizes[2:])
    return NOTES[name](dtype, arrays, sizes, numbers)


def note_layer_norm(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `layer_norm`."""
    x, scale, shift, hat, inverse, y = arrays
    return [layer_norm(x, scale, shift, hat, inverse, y, *numbers)]


def note_layer_norm_gradient(
    dtype: Any, arrays: Given, sizes: Given, numbers: Given
) -> list[Launch]:
    """Note `layer_norm_gradient`."""
    dy, hat, inverse, scale, dscale, dshift, _ = arrays
    return layer_norm_gradient(dy, hat, inverse, scale, dscale, dshift)


def note_batch_sums(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `batch_sums`."""
    x, y, sums, _, *own = arrays
    return batch_sums(x, y, sums, sizes[1], *own)


def note_batch_moments(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `batch_moments`."""
    part, epsilon = float(numbers[0] * sizes[1]), float(numbers[1])
    return [launch("batch_moments", dtype, sizes[0], *arrays, part, epsilon)]


def note_batch_norm(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `batch_norm`."""
    return [launch("batch_norm", dtype, arrays[0].size, sizes[1], *arrays[:-1])]


def note_batch_norm_gradient(
    dtype: Any, arrays: Given, sizes: Given, numbers: Given
) -> list[Launch]:
    """Note `batch_norm_gradient`."""
    dy, hat, back, totals, scale, inverse, _ = arrays
    return [batch_norm_gradient(dy, hat, back, totals, scale, inverse)]


def note_weighted_softmax(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `weighted_softmax` and the gradient that follows it."""
    outputs, classes, f, _, _, weights, losses, *_ = arrays
    keep, part = numbers
    return [weighted_softmax(outputs, classes, weights, keep, part, f, losses)]


def note_perceptron(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note `perceptron`."""
    return [launch("perceptron", dtype, sizes[0], *arrays)]


def nothing(dtype: Any, arrays: Given, sizes: Given, numbers: Given) -> list[Launch]:
    """Note nothing: it is done already."""
    return []


def weigh_losses(dtype: Any, losses: Array, weights: Array, samples: Array) -> list[Launch]:
    """Note `weigh_losses`."""
    return [launch("weigh_losses", dtype, losses.size, losses, weights, samples)]


def weigh_gradient(
    dtype: Any, d: Array, weights: Array, samples: Array, width: int
) -> list[Launch]:
    """Note `weigh_gradient`."""
    return [launch("weigh_gradient", dtype, d.size, width, d, weights, samples)]


NOTES: dict[str, Callable[[Any, Given, Given, Given], list[Launch]]] = {
    "layer_norm": note_layer_norm, "layer_norm_gradient": note_layer_norm_gradient,
    "batch_sums": note_batch_sums, "batch_moments": note_batch_moments,
    "batch_norm": note_batch_norm, "batch_norm_gradient": note_batch_norm_gradient,
    "weighted_softmax": note_weighted_softmax, "weighted_softmax_gradient": nothing,
    "perceptron": note_perceptron,
}  # fmt: skip
OF_SAMPLES: dict[str, Callable[..., list[Launch]]] = {
    "weigh_losses": weigh_losses, "weigh_gradient": weigh_gradient,
}  # fmt: skip
