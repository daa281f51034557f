from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from disttrain.advice.activity import equal_units, silence, silent_units, why_equal
from disttrain.arrays import Cpu
from disttrain.model import Dense, Layer, Network, Pass
from disttrain.training import Run, fit

Build = Callable[..., Run]


def constant(units: int) -> Dense:
    return Dense(units, initializer="constant")


def test_units_that_are_zero_for_all_rows() -> None:
    network = Network([Dense(4, "relu"), Dense(3, "tanh"), Dense(2, "relu")], (3,), "f8", Cpu(), 1)
    views = network.layout.views(network.values)
    views[0]["bias"][[1, 3]] = -100
    views[2]["bias"][:] = 100
    x = np.random.default_rng(0).normal(size=(500, 3))
    assert silent_units(network, x) == {"dense1": [1, 3]}
    views[2]["bias"][0] = -100
    assert silent_units(network, x) == {"dense1": [1, 3], "dense3": [0]}
    assert silent_units(network, x[:0]) == {}
    # One row for which it is not zero wakes a unit.
    views[0]["weight"][:] = 0
    views[0]["weight"][1, 0] = 1
    x[77, 0] = 101
    assert 1 not in silent_units(network, x)["dense1"]


def test_silent_units_get_no_gradient() -> None:
    network = Network([Dense(4, "relu"), Dense(3)], (3,), "f8", Cpu(), 1)
    network.layout.views(network.values)[0]["bias"][2] = -100
    gradients = np.zeros(network.layout.length)
    now = Pass(gradients=network.layout.views(gradients))
    outputs, backward = network.forward(np.random.default_rng(0).normal(size=(50, 3)), now)
    backward(np.ones_like(outputs))
    found = network.tensors(gradients)
    dead = [not found["dense1/weight"][n].any() for n in range(4)]
    assert dead == [False, False, True, False]
    assert not found["dense2/weight"][:, 2].any()


def test_the_sentence_names_layer_numbers_and_units(build: Build) -> None:
    run = build('model.layers=[{units=12, activation="relu"}, {units=3}]')
    views = run.network.layout.views(run.network.values)
    views[0]["bias"][[2, 7]] = -1000
    assert silence(run) == {
        "dense1": "dense1: 2 of 12 ReLU units output 0 for each of 99 training rows (units 2, 7)"
    }
    views[0]["bias"][7] = 1
    assert "1 of 12 ReLU units outputs 0 for each" in silence(run)["dense1"]
    assert silence(run)["dense1"].endswith(" (unit 2)")
    views[0]["bias"][:] = -1000
    assert silence(run)["dense1"].endswith(" ReLU units output 0 for each of 99 training rows")


def test_a_rate_too_large_kills_units(build: Build) -> None:
    run = build('model.layers=[{units=12, activation="relu"}, {units=3}]', "training.epochs=2",
                "schedule.learning_rate=5.0", "data.normalize=none")  # fmt: skip
    assert "dense1" not in silence(run)
    fit(run)
    assert "dense1" in silence(run)


CONSTANT = 'units=6, activation="tanh", initializer="constant", scale=0.1'


def test_equal_units_stay_equal_for_ever_where_they_are_named(build: Build) -> None:
    run = build(f'model.layers=[{{{CONSTANT}}}, {{units=3, initializer="constant"}}]')
    assert equal_units(run.network) == ["dense1"]
    assert "dense1 begin with the same weights" in why_equal(["dense1"])
    fit(run)
    hidden, last = run.network.layout.views(run.network.values)
    # To rounding: products of matrices may add up in another order for another unit.
    assert np.ptp(hidden["weight"], axis=0).max() < 1e-5 < np.abs(hidden["weight"]).max()
    assert np.ptp(last["weight"], axis=1).max() < 1e-5
    assert np.ptp(last["weight"], axis=0).max() > 0.1


def test_equal_units_part_where_the_next_layer_tells_them_apart(build: Build) -> None:
    run = build(f"model.layers=[{{{CONSTANT}}}, {{units=3}}]")
    assert equal_units(run.network) == []
    fit(run)
    hidden = run.network.layout.views(run.network.values)[0]
    assert np.ptp(hidden["weight"], axis=0).max() > 0.01


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ([constant(3)], []),
        ([constant(1), constant(3)], []),
        ([Dense(4), Dense(3)], []),
        (
            [constant(4), constant(4), Dense(3)],
            ["dense1"],
        ),
        (
            [constant(4)] * 2 + [constant(3)],
            ["dense1", "dense2"],
        ),
    ],
)
def test_which_layers_are_named(layers: list[Layer], names: list[str]) -> None:
    assert equal_units(Network(layers, (3,), "f8", Cpu(), 1)) == names


def test_one_different_bias_is_enough() -> None:
    layers = [constant(4), constant(3)]
    network = Network(layers, (3,), "f8", Cpu(), 1)
    network.layout.views(network.values)[0]["bias"][2] = 1e-3
    assert equal_units(network) == []
