"""The gradient of CD-1 against the same in loops, with the same draws."""

import numpy as np

from disttrain.arrays import Cpu, field
from disttrain.model import Network, Pass, Rbm


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def passed(x: np.ndarray, first: int = 0) -> tuple[Network, np.ndarray, dict[str, np.ndarray]]:
    network = Network([Rbm(4, scale=0.5)], (x.shape[1],), "float64", Cpu(), seed=3)
    vector = np.zeros(network.layout.length)
    (views,) = gradients = network.layout.views(vector)
    outputs, backward = network.forward(x, Pass(step=7, first_row=first, gradients=gradients))
    outputs = outputs.copy()
    backward(np.zeros_like(outputs))
    return network, outputs, views


def test_gradient_is_that_of_contrastive_divergence() -> None:
    x = np.random.default_rng(0).random((5, 6))
    network, outputs, found = passed(x)
    tensors = network.tensors(network.values)
    w, b, c = (tensors[f"rbm1/{name}"] for name in ("weight", "bias", "visible"))
    drawn = (field(5, 4, 0, 3, "rbm rbm1", 7) + 0.5) / 65536
    dw, db, dc = np.zeros_like(w), np.zeros_like(b), np.zeros_like(c)
    for n, v in enumerate(x):
        h = sigmoid(w @ v + b)
        v1 = sigmoid(w.T @ (drawn[n] < h) + c)
        h1 = sigmoid(w @ v1 + b)
        np.testing.assert_allclose(outputs[n], v1, rtol=1e-12)
        dw += np.outer(h1, v1) - np.outer(h, v)
        db += h1 - h
        dc += v1 - v
    np.testing.assert_allclose(found["weight"], dw, atol=1e-12)
    np.testing.assert_allclose(found["bias"], db, atol=1e-12)
    np.testing.assert_allclose(found["visible"], dc, atol=1e-12)


def test_a_row_draws_by_its_place_in_the_batch() -> None:
    x = np.random.default_rng(0).random((6, 5))
    _, whole, _ = passed(x)
    _, part, _ = passed(x[4:], first=4)
    np.testing.assert_allclose(part, whole[4:], rtol=1e-12)
    _, none, gradients = passed(x[:0])
    assert none.shape == (0, 5)
    assert not gradients["weight"].any()


def test_it_learns_to_give_two_patterns_back() -> None:
    x = np.repeat([[1.0, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1]], 10, axis=0)
    network = Network([Rbm(4, scale=0.1)], (6,), "float64", Cpu(), seed=1)
    vector = np.zeros(network.layout.length)
    gradients = network.layout.views(vector)
    for step in range(300):
        outputs, backward = network.forward(x, Pass(step=step, gradients=gradients))
        backward(outputs)
        network.values -= 0.5 / len(x) * vector
    assert np.abs(network.predict(x) - x).max() < 0.1
