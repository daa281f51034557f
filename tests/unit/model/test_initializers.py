import math

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.model import Dense, Layer, Network

UNITS, INPUTS = 300, 400


def weights(layers: list[Layer], inputs: int = INPUTS, seed: int = 1) -> dict[str, np.ndarray]:
    network = Network(layers, (inputs,), "float64", Cpu(), seed)
    return network.tensors(network.values)


@pytest.mark.parametrize(
    ("initial", "activation", "deviation"),
    [
        ("he", "tanh", math.sqrt(2 / INPUTS)),
        ("xavier", "relu", math.sqrt(2 / (INPUTS + UNITS))),
        ("small-random", "relu", 0.03),
        ("auto", "relu", math.sqrt(2 / INPUTS)),
        ("auto", "leaky-relu", math.sqrt(2 / INPUTS / 1.0001)),
        ("auto", "elu", math.sqrt(2 / INPUTS)),
        ("auto", "gelu", math.sqrt(2 / INPUTS)),
        ("auto", "silu", math.sqrt(2 / INPUTS)),
        ("auto", "tanh", math.sqrt(2 / (INPUTS + UNITS))),
        ("auto", "sigmoid", math.sqrt(2 / (INPUTS + UNITS))),
        ("auto", "identity", math.sqrt(2 / (INPUTS + UNITS))),
    ],
)
def test_deviations(initial: str, activation: str, deviation: float) -> None:
    w = weights([Dense(UNITS, activation, initial, scale=0.03)])["dense1/weight"]
    assert w.shape == (UNITS, INPUTS)
    # Of 120,000 normal draws: four standard errors.
    assert w.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * w.size))
    assert abs(w.mean()) < 4 * deviation / math.sqrt(w.size)
    assert (np.abs(w) > 3 * deviation).mean() == pytest.approx(0.0027, rel=0.3)


def test_biases_begin_with_their_constant() -> None:
    drawn = weights([Dense(4, bias=0.25), Dense(3)], inputs=2)
    assert drawn["dense1/bias"].tolist() == [0.25] * 4
    assert drawn["dense2/bias"].tolist() == [0] * 3


def test_weights_depend_on_the_seed_and_the_layers_place_alone() -> None:
    two = weights([Dense(4), Dense(4)], inputs=4)
    three = weights([Dense(4), Dense(4), Dense(9)], inputs=4)
    for name, tensor in two.items():
        np.testing.assert_array_equal(three[name], tensor)
    assert not np.array_equal(two["dense1/weight"], two["dense2/weight"])
    assert not np.array_equal(
        weights([Dense(4)], inputs=4, seed=2)["dense1/weight"], two["dense1/weight"]
    )


def test_float32_weights_are_the_float64_ones_rounded() -> None:
    double = weights([Dense(4)], inputs=4)["dense1/weight"]
    single = Network([Dense(4)], (4,), "float32", Cpu(), 1)
    np.testing.assert_array_equal(
        single.tensors(single.values)["dense1/weight"], double.astype("f4")
    )
