from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.errors import CheckpointError, UsageError
from disttrain.model import (
    Context,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Network,
    Parameter,
    Pass,
    Shape,
)


def network(dtype: str = "float64", seed: int = 1) -> Network:
    return Network([Dense(5, "tanh"), Dense(2)], (3,), dtype, Cpu(), seed)


def test_gradients_are_written_straight_into_the_vector_and_reported_layer_by_layer() -> None:
    net = network()
    gradients = np.full(net.layout.length, 7.0)
    x = np.random.default_rng(0).normal(size=(4, 3))
    ends: list[int] = []
    seen: list[np.ndarray] = []

    def on_ready(end: int) -> None:
        ends.append(end)
        seen.append(gradients[:end].copy())

    now = Pass(gradients=net.layout.views(gradients), on_ready=on_ready)
    outputs, backward = net.forward(x, now)
    backward(np.ones_like(outputs))
    assert ends == net.layout.ready[::-1]
    for end, part in zip(ends, seen, strict=True):
        np.testing.assert_array_equal(part, gradients[:end])
    views = net.layout.views(gradients)
    np.testing.assert_allclose(views[1]["bias"], [4, 4])
    assert not (views[0]["weight"] == 7).any()


def test_gradients_replace_those_of_the_step_before() -> None:
    net = network()
    gradients = np.zeros(net.layout.length)
    now = Pass(gradients=net.layout.views(gradients))
    x = np.random.default_rng(0).normal(size=(4, 3))
    found = []
    for _ in range(2):
        outputs, backward = net.forward(x, now)
        backward(np.ones_like(outputs))
        found.append(gradients.copy())
    np.testing.assert_array_equal(*found)


def test_a_step_is_computed_in_the_same_memory_every_time() -> None:
    net = network()
    first, _ = net.forward(np.ones((4, 3)), Pass())
    second, _ = net.forward(np.zeros((4, 3)), Pass())
    assert np.shares_memory(first, second)


def test_prediction_leaves_a_step_under_way_alone() -> None:
    net = network()
    x = np.random.default_rng(0).normal(size=(4, 3))
    outputs, _ = net.forward(x, Pass())
    kept = outputs.copy()
    np.testing.assert_array_equal(net.predict(x), kept)
    net.predict(x + 1)
    np.testing.assert_array_equal(outputs, kept)


@pytest.mark.parametrize("between", [[], [Flatten()], [Dropout(0.5)]])
def test_predictions_take_two_arrays_however_many_layers_and_their_bits_stay(
    between: list[Layer],
) -> None:
    made: list[np.ndarray] = []

    class Counting(Cpu):
        def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            made.append(np.empty(shape, dtype))
            return made[-1]

    stack = [Dense(5, "tanh"), *between, Dense(5, "relu"), *between, Dense(4, "elu"), Dense(5)]
    net = Network(stack, (3,), "float64", Counting(), 1)
    x = np.random.default_rng(0).normal(size=(4, 3))
    found = net.predict(x).copy()
    assert len(made) == 2
    if not any(isinstance(layer, Dropout) for layer in between):
        np.testing.assert_array_equal(net.forward(x, Pass())[0], found)
    np.testing.assert_array_equal(net.activations(x)[-1], found)


def test_outputs_follow_the_textbook() -> None:
    net = network()
    w1, b1, w2, b2 = net.tensors(net.values).values()
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(net.predict(x), np.tanh(x @ w1.T + b1) @ w2.T + b2, rtol=1e-13)


def test_count_and_penalty_know_what_decays() -> None:
    net = network()
    w1, b1, w2, b2 = net.tensors(net.values).values()
    b1[:], b2[:] = 100, 100
    assert net.count == 5 * 3 + 5 + 2 * 5 + 2
    want = 0.5 * 0.01 * ((w1**2).sum() + (w2**2).sum())
    assert net.penalty(0.01) == pytest.approx(want, rel=1e-13)


def test_tensors_go_back_bit_for_bit() -> None:
    one, two = network(seed=1), network(seed=2)
    tensors = {name: t.copy() for name, t in one.tensors(one.values).items()}
    two.load(tensors, two.values)
    np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_tensors_of_another_network_are_refused_by_name(change: str) -> None:
    net = network()
    tensors = dict(net.tensors(net.values))
    if change == "missing":
        del tensors["dense2/bias"]
    elif change == "extra":
        tensors["dense3/bias"] = np.zeros(2)
    elif change == "shape":
        tensors["dense2/weight"] = np.zeros((2, 6))
    else:
        tensors["dense2/weight"] = tensors["dense2/weight"].astype("f4")
    before = net.values.copy()
    name = {"missing": "dense2/bias", "extra": "dense3/bias"}.get(change, "dense2/weight")
    with pytest.raises(CheckpointError, match=f"another network: {name}"):
        net.load(tensors, net.values)
    np.testing.assert_array_equal(net.values, before)


class Blur(Layer):
    """The mean of each pixel and the one below it: images in, images with a row less out."""

    kind = "blur"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def outputs(self, shape: Shape) -> Shape:
        return (shape[0] - 1, shape[1])

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"gain": Parameter(shape[1:], initial=1.0)}

    def forward(self, x: np.ndarray, ctx: Context):
        self.seen.append(x.shape)
        mean, gain = (x[:, 1:] + x[:, :-1]) / 2, ctx.values["gain"]

        def backward(dy: np.ndarray) -> np.ndarray:
            self.seen.append(dy.shape)
            ctx.gradients["gain"][:] = (dy * mean).sum(axis=(0, 1))
            dx = np.zeros_like(x)
            dx[:, 1:] += dy * gain / 2
            dx[:, :-1] += dy * gain / 2
            return dx

        return mean * gain, backward


@pytest.mark.parametrize("rows", [4, 0])
def test_a_layer_gets_samples_in_their_shape_and_a_dense_layer_flattens(rows: int) -> None:
    blur = Blur()
    net = Network([blur, Dense(2)], (3, 5), "float64", Cpu(), seed=1)
    assert net.shapes == [(3, 5), (2, 5), (2,)]
    assert (net.inputs, net.outputs) == (15, 2)
    x = np.random.default_rng(0).normal(size=(rows, 3, 5))
    gradients = np.zeros(net.layout.length)
    outputs, backward = net.forward(x, Pass(gradients=net.layout.views(gradients)))
    backward(np.ones_like(outputs))
    assert blur.seen == [(rows, 3, 5), (rows, 2, 5)]
    weight, bias = net.tensors(net.values)["dense2/weight"], net.tensors(net.values)["dense2/bias"]
    blurred = ((x[:, 1:] + x[:, :-1]) / 2).reshape(rows, 10)
    np.testing.assert_allclose(outputs, blurred @ weight.T + bias, rtol=1e-13)
    np.testing.assert_allclose(net.tensors(gradients)["dense2/weight"], [blurred.sum(axis=0)] * 2)


def test_each_pass_writes_into_the_memory_that_it_was_given() -> None:
    net, x = network(), np.random.default_rng(0).normal(size=(4, 3))
    vectors = [np.zeros(net.layout.length) for _ in range(2)]
    for vector, rows in zip(vectors, (x[:1], x), strict=True):
        outputs, backward = net.forward(rows, Pass(gradients=net.layout.views(vector)))
        backward(np.ones_like(outputs))
    np.testing.assert_allclose(net.tensors(vectors[0])["dense2/bias"], [1, 1])
    np.testing.assert_allclose(net.tensors(vectors[1])["dense2/bias"], [4, 4])


@pytest.mark.parametrize("found", [7, (2.5,), (0,), ((4,),), [4]])
def test_a_layer_that_states_no_shape_is_named(found: object) -> None:
    class Wrong(Layer):
        kind = "wrong"

        def forward(self, x, ctx):
            return x, lambda dy: dy

    class Outputs(Wrong):
        def outputs(self, shape):
            return found

    class Parameters(Wrong):
        def parameters(self, shape):
            return {"gain": Parameter(found)}

    for layer, what in ((Outputs(), r"outputs\(shape\)"), (Parameters(), "the shape of 'gain'")):
        with pytest.raises(UsageError, match=f"wrong2.*{what} is .*not a shape: .*as tuples"):
            Network([Dense(3), layer], (4,), "float64", Cpu(), seed=1)
