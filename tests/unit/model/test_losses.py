import warnings

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.model import Context, Loss, Softmax, Squared
from disttrain.model.losses import built_in


def run(loss: Loss, outputs: list, targets: list, dtype: str = "float64") -> tuple:
    o, y = np.array(outputs, dtype), np.array(targets)
    if y.dtype.kind == "f":
        y = y.astype(dtype)
    each, backward = loss.forward(o, y, Context("loss", Cpu(), dtype, Workspace(Cpu().empty), {}))
    assert each.dtype == np.float64
    assert each.shape == (len(outputs),)
    return float(each.sum()), backward()


def test_the_softmax_of_the_lecture() -> None:
    f = np.array([0.00057, 0.00012, 0.0466, 0.9356, 0.0171])
    for target in range(5):
        loss, gradient = run(Softmax(), [[0.6, -1, 5, 8, 4]], [target])
        onehot = np.eye(5)[target]
        np.testing.assert_allclose(gradient[0] + onehot, f, atol=5e-5)
        np.testing.assert_allclose(gradient[0].sum(), 0, atol=1e-15)
        np.testing.assert_allclose(loss, -np.log(f[target]), rtol=0.05)


def test_the_squared_loss_of_the_lecture() -> None:
    for targets in ([[0.0, 1.0, 0.0]], [1]):
        loss, gradient = run(Squared(), [[3, 1, -2]], targets)
        assert loss == 13
        assert gradient.tolist() == [[6, 0, -4]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_huge_outputs_is_finite_and_right(dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradient = run(Softmax(), [[1e4, -1e4, 0], [1e4, 1e4, -1e4]], [1, 0], dtype)
    assert loss == pytest.approx(2e4 + np.log(2), rel=1e-6)
    np.testing.assert_allclose(gradient, [[1, -1, 0], [-0.5, 0.5, 0]], atol=1e-7)


def test_softmax_does_not_change_with_a_common_offset() -> None:
    assert run(Softmax(), [[1.0, 2.0]], [0])[0] == run(Softmax(), [[1025.0, 1026.0]], [0])[0]


@pytest.mark.parametrize("loss", [Softmax(), Squared()])
def test_losses_are_sums_over_samples(loss: Loss) -> None:
    one, gradient_of_one = run(loss, [[0.5, 2.0, -1.0]], [2])
    three, gradients = run(loss, [[0.5, 2.0, -1.0]] * 3, [2] * 3)
    assert three == pytest.approx(3 * one, rel=1e-14)
    np.testing.assert_allclose(gradients, np.repeat(gradient_of_one, 3, axis=0))


def test_outputs_are_left_as_they_are_until_the_backward_pass() -> None:
    for loss in (Softmax(), Squared()):
        outputs = np.array([[0.5, 2.0]])
        loss.forward(outputs, np.array([1]), Context("l", Cpu(), "f8", Workspace(Cpu().empty), {}))
        assert outputs.tolist() == [[0.5, 2.0]]


def test_the_names_of_a_run_file() -> None:
    assert isinstance(built_in("softmax"), Softmax)
    assert isinstance(built_in("squared"), Squared)
