"""The lecture's networks with given weights, and linear networks that are one layer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import disttrain
from disttrain.errors import UsageError
from disttrain.model.given import collapsed

LAYERS = [
    ([[3, 4], [1, 2], [9, 7]], [5, 8, 6]),
    ([[3, 4, 1], [5, 2, 7]], [9, 1]),
    ([[5, 3]], [6]),
]


def test_a_network_of_signs() -> None:
    """`sign(4 h1 + 2 h2 + 7)` with `h1 = sign(3 x1 + 5 x2)` and `h2 = sign(6 + 3 x2)`."""
    weights = [([[3, 5], [0, 3]], [0, 6]), ([[4, 2]], [7])]
    network = disttrain.network_of(weights, ["sign", "sign"])
    for x1, x2 in itertools.product([-4.0, -1.5, 0.5, 2.0, 7.0], repeat=2):
        h1, h2 = np.sign(3 * x1 + 5 * x2), np.sign(6 + 3 * x2)
        expected = np.sign(4 * h1 + 2 * h2 + 7)
        assert network.predict(np.array([[x1, x2]]))[0, 0] == expected


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "sign", "sigmoid"])
def test_three_layers_of_given_weights(activation: str) -> None:
    network = disttrain.network_of(LAYERS, [activation, activation, "identity"])
    f = {
        "identity": lambda a: a,
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "sign": np.sign,
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    }[activation]
    x = np.array([0.3, -0.7])
    (w1, b1), (w2, b2), (w3, b3) = [(np.array(w), np.array(b)) for w, b in LAYERS]
    expected = w3 @ f(w2 @ f(w1 @ x + b1) + b2) + b3
    np.testing.assert_allclose(network.predict(x[None])[0], expected)


def test_a_linear_network_is_one_layer() -> None:
    network = disttrain.network_of(LAYERS, ["identity"] * 3)
    weight, bias = collapsed(network)
    assert weight.shape == (1, 2)
    rows = np.random.default_rng(0).standard_normal((20, 2))
    np.testing.assert_allclose(rows @ weight.T + bias, network.predict(rows))
    # By hand: W3 W2 W1 and W3 (W2 b1 + b2) + b3.
    np.testing.assert_array_equal(weight, [[350, 354]])
    np.testing.assert_array_equal(bias, [568])


def test_a_network_with_an_activation_does_not_collapse() -> None:
    with pytest.raises(UsageError, match="dense1 is not linear"):
        collapsed(disttrain.network_of(LAYERS, ["tanh", "identity", "identity"]))


@pytest.mark.parametrize(
    ("weights", "activations", "sentence"),
    [
        (LAYERS, ["tanh"], "3 layers of weights need as many activations, not 1"),
        ([([[1, 2]], [1, 2])], ["identity"], "layer 1"),
        ([LAYERS[0], LAYERS[2]], ["identity"] * 2, "layer 2.*do not fit 3 inputs"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(weights, activations, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        disttrain.network_of(weights, activations)
