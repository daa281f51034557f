"""Updates whose course can be written down: constant gradients, and a parabola."""

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.config import Sgd
from disttrain.model import Dense, Network
from disttrain.training.optimizer import Optimizer

RATE, BETA, STEPS = 0.05, 0.8, 60


def make(form: str, momentum: float = BETA, decay: float = 0.0) -> tuple[Network, Optimizer]:
    network = Network([Dense(3, bias=0.7)], (2,), "float64", Cpu(), seed=1)
    return network, Optimizer(network, Sgd(form=form, momentum=momentum, weight_decay=decay))


@pytest.mark.parametrize("form", ["averaged", "classical", "nesterov"])
def test_a_constant_gradient(form: str) -> None:
    """averaged: `w_T = w_0 - α g Σ (1 - β^t)`; classical the same with `(1 - β^t) / (1 - β)`."""
    network, optimizer = make(form)
    start, g = network.values.copy(), np.random.default_rng(0).normal(size=network.layout.length)
    for step in range(STEPS):
        optimizer.step(8 * g, RATE, 8, step + 1)
    t = np.arange(1, STEPS + 1)
    path = (1 - BETA**t).sum()
    if form == "classical":
        path = ((1 - BETA**t) / (1 - BETA)).sum()
    elif form == "nesterov":
        path = (1 + BETA * (1 - BETA**t) / (1 - BETA)).sum()
    np.testing.assert_allclose(network.values, start - RATE * g * path, rtol=1e-12)


def test_averaged_is_classical_at_a_rate_that_is_smaller_by_1_minus_beta() -> None:
    one, averaged = make("averaged")
    two, classical = make("classical")
    for step in range(STEPS):
        g = np.random.default_rng(step).normal(size=one.layout.length)
        averaged.step(g, RATE, 4, step + 1)
        classical.step(g, RATE * (1 - BETA), 4, step + 1)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-11)


@pytest.mark.parametrize("form", ["averaged", "classical"])
def test_a_parabola_follows_its_recurrence(form: str) -> None:
    """For `L = w²/2`: `w_(t+1) = (1 + β - a) w_t - β w_(t-1)`, `a` the rate as classical takes it.

    Its solution is `w_t = c₁ r₁^t + c₂ r₂^t` with the roots of `r² - (1 + β - a) r + β`.
    """
    network, optimizer = make(form)
    a = RATE * ((1 - BETA) if form == "averaged" else 1)
    start = network.values.copy()
    for step in range(STEPS):
        optimizer.step(network.values.copy(), RATE, 1, step + 1)
    roots = np.roots([1, -(1 + BETA - a), BETA]).astype(complex)
    # w_0 = 1 and w_1 = 1 - a
    c = np.linalg.solve([[1, 1], roots], [1, 1 - a])
    factor = (c * roots**STEPS).sum().real
    np.testing.assert_allclose(network.values, start * factor, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["averaged", "classical", "nesterov"])
def test_weight_decay_shrinks_weights_and_leaves_biases(form: str) -> None:
    network, optimizer = make(form, momentum=0.0, decay=0.1)
    weight, bias = network.tensors(network.values.copy()).values()
    for step in range(STEPS):
        optimizer.step(np.zeros(network.layout.length), RATE, 1, step + 1)
    found = network.tensors(network.values)
    np.testing.assert_allclose(found["dense1/weight"], weight * (1 - RATE * 0.1) ** STEPS)
    np.testing.assert_array_equal(found["dense1/bias"], bias)


def test_the_mean_over_samples_is_taken_once() -> None:
    one, first = make("classical")
    two, second = make("classical")
    g = np.random.default_rng(0).normal(size=one.layout.length)
    first.step(g, RATE, 1, 1)
    second.step(64 * g, RATE, 64, 1)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-14)
