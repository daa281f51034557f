import warnings

import numpy as np
import pytest

from disttrain.arrays.cpu_kernels import CHUNK, activate, activation_gradient, adam, momentum

PLAIN = {
    "identity": lambda a: a,
    "relu": lambda a: np.where(a > 0, a, 0.0),
    "tanh": lambda a: (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a)),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
}
LENGTHS = [0, 1, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5]


@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_activations_are_their_formulas(activation: str, rows: int) -> None:
    random = np.random.default_rng(0)
    z, bias = random.normal(size=(rows, 4)), random.normal(size=4)
    want = PLAIN[activation](z + bias)
    activate(z, bias, activation)
    np.testing.assert_allclose(z, want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("activation", PLAIN)
def test_derivatives_are_those_of_the_formulas(activation: str) -> None:
    random = np.random.default_rng(1)
    a, upstream = random.normal(size=(6, 4)), random.normal(size=(6, 4))
    f = PLAIN[activation]
    want = upstream * (f(a + 1e-6) - f(a - 1e-6)) / 2e-6
    dy, dbias = upstream.copy(), np.full(4, np.nan)
    activation_gradient(dy, f(a), activation, dbias, np.full_like(a, np.nan))
    np.testing.assert_allclose(dy, want, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(dbias, want.sum(axis=0), rtol=1e-7, atol=1e-9)


def test_no_rows_have_no_bias_gradient() -> None:
    dbias = np.full(3, np.nan)
    activation_gradient(np.empty((0, 3)), np.empty((0, 3)), "tanh", dbias, np.empty((0, 3)))
    assert dbias.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_arguments_neither_overflow_nor_warn(dtype: str) -> None:
    big = np.array([[-1e4, -800, -100, 0, 100, 800, 1e4]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for activation in ("sigmoid", "tanh"):
            z = big.copy()
            activate(z, np.zeros(7, dtype), activation)
            low = 0 if activation == "sigmoid" else -1
            np.testing.assert_allclose(z[0], [low] * 3 + [(low + 1) / 2] + [1] * 3, atol=1e-15)


def test_nan_stays_visible_through_relu() -> None:
    z = np.array([[np.nan, -1.0]])
    activate(z, np.zeros(2), "relu")
    assert np.isnan(z[0, 0])
    assert z[0, 1] == 0


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_update_is_its_formula_for_every_element(form: str, length: int) -> None:
    random = np.random.default_rng(length)
    w, v, g = random.normal(size=(3, length))
    rate, beta, decay, inverse = 0.1, 0.9, 0.01, 1 / 7
    s = g * inverse + decay * w
    if form == "averaged":
        want_v = beta * v - rate * (1 - beta) * s
        want_w = w + want_v
    else:
        want_v = beta * v + s
        want_w = w - rate * (s + beta * want_v if form == "nesterov" else want_v)
    given = g.copy()
    momentum(form, w, v, g, inverse, rate, beta, decay)
    np.testing.assert_allclose(w, want_w, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(v, want_v, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(g, given)


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
def test_three_updates_of_one_number_by_hand(form: str) -> None:
    """A scalar in plain Python: the velocity must be carried from one update to the next."""
    w, v, g = np.array([1.0]), np.array([0.0]), np.array([6.0])
    weight, velocity = 1.0, 0.0
    for rate in (0.1, 0.05, 0.2):
        s = 6.0 / 3 + 0.5 * weight
        if form == "averaged":
            velocity = 0.8 * velocity - rate * (1 - 0.8) * s
            weight += velocity
        else:
            velocity = 0.8 * velocity + s
            weight -= rate * (s + 0.8 * velocity if form == "nesterov" else velocity)
        momentum(form, w, v, g, 1 / 3, rate, 0.8, 0.5)
        np.testing.assert_allclose([w[0], v[0]], [weight, velocity], rtol=1e-14)


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
def test_float32_stays_float32_and_close(form: str) -> None:
    random = np.random.default_rng(3)
    double = list(random.normal(size=(3, 1000)).astype("f4").astype("f8"))
    single = [a.astype("f4") for a in double]
    for arrays in (double, single):
        momentum(form, *arrays, 0.25, 0.1, 0.9, 1e-4)
    assert single[0].dtype == np.float32
    np.testing.assert_allclose(single[0], double[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
def test_adam_is_its_formula_for_every_element(length: int) -> None:
    random = np.random.default_rng(length)
    w, m, v, g = random.normal(size=(4, length))
    v *= v
    inverse, decay, keep, rate, root, epsilon = 1 / 7, 0.01, 0.98, 0.1, 1.5, 1e-3
    s = g * inverse + decay * w
    want_m = 0.8 * m + 0.2 * s
    want_v = 0.95 * v + 0.05 * s**2
    want_w = keep * w - rate * want_m / (root * np.sqrt(want_v) + epsilon)
    given = g.copy()
    adam(w, m, v, g, inverse, decay, keep, 0.8, 0.95, rate, root, epsilon)
    for found, want in ((w, want_w), (m, want_m), (v, want_v)):
        np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(g, given)
