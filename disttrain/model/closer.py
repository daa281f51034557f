"""Predictions that are rounded less than a training's: dense layers computed in float64.

Two programs that compute a float32 network differ by 1e-6 and more in its probabilities. The layers
behind the last one for images are cheap enough to be computed in float64, from the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from disttrain.arrays import Array, Workspace
from disttrain.model.layers import BatchNorm, Dense, Dropout, Flatten, LayerNorm
from disttrain.model.passes import PREDICTION

if TYPE_CHECKING:
    from disttrain.model.network import Network

__all__ = ["closer", "closer_from"]

CHEAP = (Dense, Dropout, Flatten, BatchNorm, LayerNorm)


def closer_from(network: Network) -> int:
    """Return the number of the layer from which on predictions are computed in float64.

    It is the first one behind the last layer for images, or of a user's own: 0 in a network of
    dense layers.
    """
    first = len(network.layers)
    while first and type(network.layers[first - 1]) in CHEAP:
        first -= 1
    return first


def closer(network: Network) -> Callable[[Array], Array]:
    """Return a function from rows of inputs to the network's outputs, (rows, outputs) in float64.

    It has the weights of now, for use before they change, and memory of its own: weights that are
    float64 are not copied.
    """
    first, memory = closer_from(network), Workspace(network.device.empty)
    behind = [
        (layer, replace(
            context, dtype="float64", workspace=memory,
            values={
                key: value.astype(np.float64, copy=False) for key, value in context.values.items()
            },
        ))
        for layer, context in [
            *zip(network.layers, network.contexts(PREDICTION), strict=True)
        ][first:]
    ]  # fmt: skip

    def outputs(inputs: Array) -> Array:
        """Return the outputs for rows of inputs."""
        x = network.predict(inputs, first).astype(np.float64)
        for layer, context in behind:
            x, _ = layer.forward(x, context)
        return x

    return outputs
