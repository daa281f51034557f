"""How weights begin: small random numbers, Xavier, He."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from disttrain.arrays.cpu_kernels import LEAK

__all__ = ["draws_for"]

# About half of what comes in goes out.
LIKE_RELU = ("relu", "leaky-relu", "elu", "gelu", "silu")


def draws_for(
    name: str, activation: str, units: int, inputs: int, scale: float, shape: tuple[int, ...] = ()
) -> Callable[[np.random.Generator], np.ndarray]:
    """Return a function that draws weights of `shape`, normal with mean 0.

    `units` is how many outputs a number of the input reaches (the fan-out), `inputs` from how many
    numbers an output comes (the fan-in); without `shape` it is (units, inputs).

    Deviations: "small-random" `scale`; "xavier" `sqrt(2 / (inputs + units))` (Glorot and Bengio,
    2010); "he" `sqrt(2 / inputs)`, for leaky-relu of slope s `sqrt(2 / ((1 + s²) inputs))` (He et
    al., 2015). "auto" is "he" for relu, leaky-relu, elu, gelu and silu, else "xavier".
    "constant" makes all weights `scale`: the units of a layer then stay equal in training.
    """
    shape = shape or (units, inputs)
    if name == "constant":
        return lambda random: np.full(shape, scale)
    if name == "auto":
        name = "he" if activation in LIKE_RELU else "xavier"
    deviation = {
        "small-random": scale,
        "xavier": math.sqrt(2 / (inputs + units)),
        "he": math.sqrt(2 / inputs / (1 + LEAK**2 * (activation == "leaky-relu"))),
    }[name]
    return lambda random: random.standard_normal(shape) * deviation
