"""Every layer, activation and loss against central differences in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.model import (
    Context,
    Dense,
    Layer,
    Loss,
    Network,
    Parameter,
    Pass,
    Shape,
    Softmax,
    Squared,
)
from tests.unit.model.central import assert_close, central_differences

ACTIVATIONS = ["identity", "sigmoid", "tanh", "relu"]
MORE = ["leaky-relu", "elu", "gelu", "silu"]
TARGETS = {
    "softmax of classes": (Softmax, True),
    "squared of classes": (Squared, True),
    "squared of numbers": (Squared, False),
}


def context(name: str = "loss") -> Context:
    return Context(name, Cpu(), "float64", Workspace(Cpu().empty), {})


def draw(rows: int, inputs: int, outputs: int, classes: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(rows)
    x = random.normal(size=(rows, inputs))
    if classes:
        return x, random.integers(0, outputs, rows)
    return x, random.normal(size=(rows, outputs))


def check_network(layers: list[Layer], loss: Loss, classes: bool, rows: int) -> np.ndarray:
    network = Network(layers, (3,), "float64", Cpu(), seed=5)
    gradients = np.zeros(network.layout.length)
    now = Pass(gradients=network.layout.views(gradients))
    x, targets = draw(rows, 3, network.outputs, classes)
    ctx = context()

    def total() -> float:
        return float(loss.forward(network.forward(x, now)[0], targets, ctx)[0].sum())

    outputs, backward = network.forward(x, now)
    _, loss_gradient = loss.forward(outputs, targets, ctx)
    backward(loss_gradient())
    assert_close(gradients, central_differences(total, network.values))
    return gradients


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(("hidden", "last"), list(itertools.product(ACTIVATIONS, ACTIVATIONS)))
def test_two_layers(hidden: str, last: str, kind: str) -> None:
    loss, classes = TARGETS[kind]
    check_network([Dense(5, hidden, bias=0.1), Dense(4, last, bias=0.2)], loss(), classes, 6)


@pytest.mark.parametrize("activation", MORE)
def test_two_layers_of_each_other_activation(activation: str) -> None:
    check_network([Dense(5, activation, bias=0.1), Dense(4, activation)], Squared(), False, 6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", MORE)
def test_activations_are_pytorchs(activation: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    of = torch.nn.functional
    theirs = {
        "leaky-relu": of.leaky_relu, "elu": of.elu, "silu": of.silu,
        "gelu": lambda a: of.gelu(a, approximate="tanh"),
    }[activation]  # fmt: skip
    a = np.concatenate([np.linspace(-90, 90, 181), [-1e-5, 0.0, 1e-5]]).astype(dtype)
    network = Network([Dense(1, activation)], (1,), dtype, Cpu(), seed=0)
    network.load({"dense1/weight": np.ones((1, 1), dtype), "dense1/bias": np.zeros(1, dtype)},
                 network.values)  # fmt: skip
    x = torch.tensor(a, requires_grad=True)
    want = theirs(x)
    want.sum().backward()
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    found = network.predict(a[:, None])
    np.testing.assert_allclose(found[:, 0], want.detach(), rtol=tolerance, atol=tolerance)
    layer, ctx = network.layers[0], context("dense1")
    ctx.dtype, ctx.values = dtype, {"weight": np.ones((1, 1), dtype), "bias": np.zeros(1, dtype)}
    ctx.gradients = {"weight": np.zeros((1, 1), dtype), "bias": np.zeros(1, dtype)}
    ctx.pass_ = Pass()
    _, backward = layer.forward(a[:, None], ctx)
    slope = backward(np.ones((len(a), 1), dtype))
    np.testing.assert_allclose(slope[:, 0], x.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("rows", [1, 7])
def test_three_layers_of_different_kinds(kind: str, rows: int) -> None:
    loss, classes = TARGETS[kind]
    layers = [Dense(5, "relu", bias=0.3), Dense(4, "tanh"), Dense(2, "sigmoid")]
    check_network(layers, loss(), classes, rows)


@pytest.mark.parametrize("kind", TARGETS)
def test_one_layer(kind: str) -> None:
    loss, classes = TARGETS[kind]
    check_network([Dense(2)], loss(), classes, 3)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_rows_give_no_loss_and_zero_gradients(activation: str, kind: str) -> None:
    loss, classes = TARGETS[kind][0](), TARGETS[kind][1]
    network = Network([Dense(5, activation), Dense(4, activation)], (3,), "float64", Cpu(), seed=5)
    gradients = np.zeros(network.layout.length)
    now = Pass(gradients=network.layout.views(gradients))
    for rows, empty in ((4, False), (0, True), (4, False)):
        x, targets = draw(rows, 3, 4, classes)
        outputs, backward = network.forward(x, now)
        total, loss_gradient = loss.forward(outputs, targets, context())
        backward(loss_gradient())
        assert (not gradients.any()) is empty
        assert (float(total.sum()) == 0) is empty


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_dense_passes_the_gradient_on_to_its_input(activation: str, rows: int) -> None:
    random = np.random.default_rng(2)
    layer, ctx = Dense(4, activation), context("dense1")
    ctx.values = {"weight": random.normal(size=(4, 3)), "bias": random.normal(size=4)}
    ctx.gradients = {"weight": np.empty((4, 3)), "bias": np.empty(4)}
    x, upstream = random.normal(size=(rows, 3)), random.normal(size=(rows, 4))

    def total() -> float:
        return float((layer.forward(x, ctx)[0] * upstream).sum())

    _, backward = layer.forward(x, ctx)
    dx = backward(upstream.copy())
    for found, by in (
        (dx, x),
        (ctx.gradients["weight"], ctx.values["weight"]),
        (ctx.gradients["bias"], ctx.values["bias"]),
    ):
        assert_close(found, central_differences(total, by))


def test_the_first_layer_computes_no_gradient_for_the_data() -> None:
    layer, ctx = Dense(2), context("dense1")
    ctx.values = {"weight": np.ones((2, 3)), "bias": np.zeros(2)}
    ctx.gradients = {"weight": np.empty((2, 3)), "bias": np.empty(2)}
    ctx.needs_input_gradient = False
    _, backward = layer.forward(np.ones((1, 3)), ctx)
    assert backward(np.ones((1, 2))) is None


class Scale(Layer):
    """A layer as the documentation of `Layer` shows it."""

    kind = "scale"

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"gain": Parameter(shape, initial=1.5)}

    def forward(
        self, x: np.ndarray, ctx: Context
    ) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        gain = ctx.values["gain"]

        def backward(dy: np.ndarray) -> np.ndarray:
            ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
            return dy * gain

        return x * gain, backward


class Absolute(Loss):
    """A loss of a user's own: `Σ |f - y|`."""

    def forward(
        self, outputs: np.ndarray, targets: np.ndarray, ctx: Context
    ) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        difference = outputs - targets
        return np.abs(difference).sum(dtype="f8"), lambda: np.sign(difference)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_layer_and_a_loss_of_a_users_own(place: int) -> None:
    layers: list[Layer] = [Dense(5, "tanh"), Dense(4)]
    layers.insert(place, Scale())
    assert check_network(layers, Absolute(), False, 6).any()


def test_own_layers_are_named_by_kind_and_number() -> None:
    network = Network([Dense(5), Scale(), Dense(2)], (3,), "float64", Cpu(), seed=5)
    assert network.names == ["dense1", "scale2", "dense3"]
    assert list(network.tensors(network.values)) == [
        "dense1/weight",
        "dense1/bias",
        "scale2/gain",
        "dense3/weight",
        "dense3/bias",
    ]
    assert network.tensors(network.values)["scale2/gain"].tolist() == [1.5] * 5
