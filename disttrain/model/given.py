"""Networks from given weights, and linear networks as one layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disttrain.arrays import Cpu
from disttrain.errors import UsageError
from disttrain.model.layers import Dense
from disttrain.model.network import Network

__all__ = ["collapsed", "network_of"]

Weights = Sequence[tuple[object, object]]


def network_of(weights: Weights, activations: Sequence[str], dtype: str = "float64") -> Network:
    """Return the network with the given `(W, b)` of each layer, first layer first.

    `W` has shape (units, inputs), with `W[r][c]` the weight from unit c to unit r; `b` has shape
    (units,). `activations` names that of each layer; "sign" is allowed, as nothing is trained.
    `network.predict(rows)` evaluates it. Raises UsageError where shapes do not fit each other.
    """
    arrays = [(np.array(w, dtype, ndmin=2), np.array(b, dtype, ndmin=1)) for w, b in weights]
    if not arrays or len(activations) != len(arrays):
        raise UsageError(f"{len(arrays)} layers of weights need as many activations, not "
                         f"{len(activations)}")  # fmt: skip
    width = arrays[0][0].shape[1]
    for number, (w, b) in enumerate(arrays, 1):
        if w.ndim != 2 or w.shape != (len(b), width):
            raise UsageError(
                f"layer {number}: W of shape {w.shape} and b of shape {b.shape} do not fit "
                f"{width} inputs: W is (units, inputs), b is (units,)"
            )
        width = len(w)
    layers = [Dense(len(b), name) for (_, b), name in zip(arrays, activations, strict=True)]
    network = Network(layers, arrays[0][0].shape[1:], dtype, Cpu(), seed=0)
    tensors = {
        f"{name}/{key}": value
        for name, (w, b) in zip(network.names, arrays, strict=True)
        for key, value in (("weight", w), ("bias", b))
    }
    network.load(tensors, network.values)
    return network


def collapsed(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return `W`, `b` of the one linear layer that is equal to a network of linear layers.

    `W₂ (W₁ x + b₁) + b₂ = (W₂ W₁) x + (W₂ b₁ + b₂)`, and so on. Raises UsageError where a layer
    has an activation: then there is no such layer.
    """
    tensors = network.tensors(network.values)
    weight, bias = np.eye(network.inputs), np.zeros(network.inputs)
    for name, layer in zip(network.names, network.layers, strict=True):
        if getattr(layer, "activation", "") != "identity":
            raise UsageError(f"{name} is not linear: only layers without activation collapse")
        w = tensors[f"{name}/weight"]
        weight, bias = w @ weight, w @ bias + tensors[f"{name}/bias"]
    return weight, bias
