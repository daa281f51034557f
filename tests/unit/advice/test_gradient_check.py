from __future__ import annotations

import numpy as np
import pytest

from disttrain.advice.gradient_check import gradient_check
from disttrain.arrays import Cpu
from disttrain.errors import UsageError
from disttrain.model import (
    Backward,
    Context,
    Dense,
    Dropout,
    Layer,
    Network,
    Parameter,
    Shape,
    Softmax,
    Squared,
)


class Scale(Layer):
    """`y = g x`, with a mistake of the wanted kind in its backward."""

    kind = "scale"

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"gain": Parameter(shape, initial=1.0)}

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        gain, mistake = ctx.values["gain"], self.mistake

        def backward(dy: np.ndarray) -> np.ndarray | None:
            g = (dy * x).sum(axis=0)
            if mistake == "adds":
                ctx.gradients["gain"] += g
            elif mistake == "mean":
                ctx.gradients["gain"][:] = g / len(x)
            elif mistake == "one":
                ctx.gradients["gain"][:] = g * (np.arange(len(g)) != 2) + (np.arange(len(g)) == 2)
            elif mistake != "forgets":
                ctx.gradients["gain"][:] = g
            if mistake == "nothing for the inputs":
                return None
            return dy if mistake == "no gain" else dy * gain

        return x * gain, backward


class Kink(Layer):
    """`y = |x|`; at 0 it says `slope`."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        return np.abs(x), lambda dy: dy * np.where(x == 0, self.slope, np.sign(x))


def test_a_right_layer_of_ones_own() -> None:
    check = gradient_check(Scale())
    assert check.checked == 4 + 5 * 4
    assert check.error < 1e-7
    check.assert_ok()


@pytest.mark.parametrize(
    ("mistake", "where"),
    [
        ("adds", "scale1/gain"),
        ("forgets", "scale1/gain"),
        ("mean", "scale1/gain"),
        ("one", r"scale1/gain\[2\]"),
        ("no gain", r"inputs\[\d, \d\]"),
        ("nothing for the inputs", r"inputs\[\d, \d\]"),
    ],
)
def test_a_wrong_layer_is_named(mistake: str, where: str) -> None:
    """Also where the initial parameters are ones, which would hide a forgotten factor."""
    with pytest.raises(AssertionError, match=f"backward gives .* for {where}.* relative error"):
        gradient_check(Scale(mistake)).assert_ok()


def test_the_worst_weight_of_a_stack_is_named_as_in_checkpoints() -> None:
    x, y = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    layers = [Dense(5, "relu"), Dropout(0.3), Dense(4, "tanh"), Dense(3)]
    for loss in (Softmax(), Squared()):
        gradient_check(layers, x.astype("f4"), y, loss).assert_ok()
    bad = gradient_check([*layers[:1], Scale("one"), *layers[2:]], x, y, Softmax())
    assert (bad.parameter, bad.index, bad.where) == ("scale2/gain", (2,), "scale2/gain[2]")


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_at_a_kink_there_is_no_derivative_to_compare(slope: float) -> None:
    check = gradient_check(Kink(slope), np.array([[0.0, 1.0], [3.0, -2.0]]))
    check.assert_ok()
    assert (check.checked, check.kinks) == (3, 1)


@pytest.mark.parametrize("distance", [1e-7, 3e-6, -3e-6])
def test_a_kink_nearby_is_no_mistake(distance: float) -> None:
    gradient_check(Kink(0.0), np.array([[distance, 1.0]])).assert_ok()


def test_rows_of_zeros_stand_at_the_kink_of_every_relu() -> None:
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    network = Network([Dense(4, "relu"), Dense(2)], (2,), "float32", Cpu(), seed=1)
    gradient_check(network, x, np.array([0, 1, 1, 0]), Softmax()).assert_ok()


def test_a_network_is_left_as_it_is_and_its_own_weights_are_taken() -> None:
    network = Network([Dense(5, "tanh"), Dense(2)], (3,), "float32", Cpu(), seed=1)
    before = network.values.copy()
    x, y = np.ones((2, 3), "f4"), np.ones((2, 2), "f4")
    found = gradient_check(network, x, y, Squared())
    found.assert_ok()
    assert (network.values == before).all()
    # Where all weights are 0, no derivative but those of the last biases is different from 0.
    network.values[:] = 0
    check = gradient_check(network, x, y, Squared())
    check.assert_ok()
    assert check.analytic == 0 or check.parameter == "dense2/bias"


def test_a_sample_of_each_parameter() -> None:
    check = gradient_check([Dense(20, "tanh"), Dense(3)], 30, sample=4)
    assert check.checked == 4 + 4 + 4 + 3 + 4
    assert check == gradient_check([Dense(20, "tanh"), Dense(3)], 30, sample=4)


def test_deep_sigmoids_with_small_gradients() -> None:
    layers = [Dense(4, "sigmoid", "small-random") for _ in range(5)]
    gradient_check([*layers, Dense(2)], 3).assert_ok()


def test_no_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one row"):
        gradient_check(Scale(), np.empty((0, 3)))
