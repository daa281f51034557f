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
    name: str, activation: str, units: int, inputs: int, scale: float
) -> Callable[[np.random.Generator], np.ndarray]:
    """Return a function that draws a weight matrix of shape (units, inputs), normal with mean 0.

    Deviations: "small-random" `scale`; "xavier" `sqrt(2 / (inputs + units))` (Glorot and Bengio,
    2010); "he" `sqrt(2 / inputs)`, for leaky-relu of slope s `sqrt(2 / ((1 + s²) inputs))` (He et
    al., 2015). "auto" is "he" for relu, leaky-relu, elu, gelu and silu, else "xavier".
    "constant" makes all weights `scale`: the units of a layer then stay equal in training.
    """
    if name == "constant":
        return lambda random: np.full((units, inputs), scale)
    if name == "auto":
        name = "he" if activation in LIKE_RELU else "xavier"
    deviation = {
        "small-random": scale,
        "xavier": math.sqrt(2 / (inputs + units)),
        "he": math.sqrt(2 / inputs / (1 + LEAK**2 * (activation == "leaky-relu"))),
    }[name]
    return lambda random: random.standard_normal((units, inputs)) * deviation
