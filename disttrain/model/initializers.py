"""How weights begin: small random numbers, Xavier, He."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

__all__ = ["draws_for"]


def draws_for(
    name: str, activation: str, units: int, inputs: int, scale: float
) -> Callable[[np.random.Generator], np.ndarray]:
    """Return a function that draws a weight matrix of shape (units, inputs), normal with mean 0.

    Deviations: "small-random" `scale`; "xavier" `sqrt(2 / (inputs + units))` (Glorot and Bengio,
    2010); "he" `sqrt(2 / inputs)` (He et al., 2015). "auto" is "he" for relu, else "xavier".
    "constant" makes all weights `scale`: the units of a layer then stay equal in training.
    """
    if name == "constant":
        return lambda random: np.full((units, inputs), scale)
    if name == "auto":
        name = "he" if activation == "relu" else "xavier"
    deviation = {
        "small-random": scale,
        "xavier": math.sqrt(2 / (inputs + units)),
        "he": math.sqrt(2 / inputs),
    }[name]
    return lambda random: random.standard_normal((units, inputs)) * deviation
