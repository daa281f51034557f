"""Layers for images: derivatives, shapes, zero rows, fan-in; series, grey and coloured images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.arrays import Cpu
from disttrain.errors import RunFileError, UsageError
from disttrain.model import (
    BUILT_IN,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    Network,
    Pass,
)

LAYERS: list[tuple[Layer, tuple[int, ...], tuple[int, ...]]] = [
    (Conv(3, 3, activation="relu"), (6, 5), (6, 5, 3)),
    (Conv(3, 3, activation="gelu", bias=False), (4, 5, 2), (4, 5, 3)),
    (Conv(3, (2, 3), stride=2, padding="valid", activation="tanh"), (7, 8, 2), (3, 3, 3)),
    (Conv(9, 3, stride=(1, 2), padding=2), (4, 6), (6, 4, 9)),
    (Conv(2, 3, stride=3), (7, 8, 2), (3, 3, 2)),
    (Conv(2, 4), (5, 6, 1), (5, 6, 2)),
    (Conv(2, 5, padding=1), (9,), (1, 7, 2)),
    (Conv(16, 3, activation="relu"), (4, 5, 16), (4, 5, 16)),
    (Conv(2, 1, activation="sigmoid"), (3, 3, 5), (3, 3, 2)),
    (MaxPool(2), (6, 5, 2), (3, 2, 2)),
    (MaxPool(3, 2), (7, 7), (3, 3, 1)),
    (MaxPool(2), (8,), (1, 4, 1)),
    (AveragePool(2), (6, 6, 3), (3, 3, 3)),
    (AveragePool((3, 1), 1), (5, 4), (3, 4, 1)),
    (GlobalAveragePool(), (4, 4, 3), (3,)),
    (Flatten(), (3, 2, 2), (12,)),
    (BatchNorm(), (4, 3, 2), (4, 3, 2)),
    (BatchNorm(), (5,), (5,)),
    (BatchNorm(), (5, 4), (5, 4)),
    (LayerNorm(), (3, 4, 2), (3, 4, 2)),
    (LayerNorm(), (5,), (5,)),
]
IDS = [f"{layer.kind} {shape}" for layer, shape, _ in LAYERS]


@pytest.mark.parametrize(("layer", "shape", "outputs"), LAYERS, ids=IDS)
def test_shapes_and_derivatives(
    layer: Layer, shape: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    assert layer.outputs(shape) == outputs
    found = disttrain.gradient_check(layer, shape)
    assert found.error < 1e-6
    assert found.checked > 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layer", "shape", "outputs"), LAYERS, ids=IDS)
def test_no_rows_have_outputs_of_their_shape_and_gradients_of_zero(
    layer: Layer, shape: tuple[int, ...], outputs: tuple[int, ...], dtype: str
) -> None:
    network = Network([Dense(int(np.prod(shape))), Back(shape), layer], (2,), dtype, Cpu(), seed=1)
    gradients = np.full(network.layout.length, np.nan, dtype)
    views = network.layout.views(gradients)
    found, backward = network.forward(np.zeros((0, 2), dtype), Pass(gradients=views))
    assert found.shape == (0, *outputs)
    assert found.dtype == dtype
    backward(np.zeros((0, *outputs), dtype))
    assert all((view == 0).all() for here in views for view in here.values())


class Back(Layer):
    """Gives vectors the shape of images, so that a layer below has weights."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def outputs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shape

    def forward(self, x: Any, ctx: Any) -> Any:
        return x.reshape(len(x), *self._shape), lambda dy: dy.reshape(x.shape)


def test_convolution_is_what_its_formula_says() -> None:
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(2, 5, 6, 3)), draw.normal(size=(3, 2, 3, 4))
    network = Network([Conv(4, (3, 2), (2, 1), padding=1)], (5, 6, 3), "float64", Cpu(), seed=0)
    bias = np.arange(4.0)
    network.load({"conv1/weight": w, "conv1/bias": bias}, network.values)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    want = np.empty((2, 3, 7, 4))
    for i in range(3):
        for j in range(7):
            window = padded[:, 2 * i : 2 * i + 3, j : j + 2]
            want[:, i, j] = np.tensordot(window, w, 3) + bias
    np.testing.assert_allclose(network.predict(x), want, rtol=1e-12, atol=1e-12)


def test_a_grey_image_is_one_of_one_channel_and_a_series_one_of_height_one() -> None:
    draw = np.random.default_rng(1).normal
    for shape, same in (((6, 5), (6, 5, 1)), ((9,), (1, 9, 1))):
        here, there = (
            Network([Conv(2, 3, activation="relu"), MaxPool(2)], s, "float64", Cpu(), seed=3)
            for s in (shape, same)
        )
        x = draw(size=(4, *shape))
        np.testing.assert_array_equal(here.predict(x), there.predict(x.reshape(4, *same)))


def test_a_number_as_padding_stands_left_and_right_of_a_narrow_image() -> None:
    assert Conv(2, (3, 1), padding=1).outputs((6, 1)) == (6, 3, 2)
    assert Conv(2, 3, padding=1).outputs((6,)) == (1, 6, 2)


def test_weights_begin_by_their_fan_in() -> None:
    network = Network([Conv(64, 5, activation="relu")], (8, 8, 16), "float64", Cpu(), seed=1)
    weight = network.tensors(network.values)["conv1/weight"]
    assert weight.shape == (5, 5, 16, 64)
    # "he" for relu: √(2 / (5 · 5 · 16)).
    assert weight.std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    network = Network([Conv(64, 5)], (8, 8, 16), "float64", Cpu(), seed=1)
    weight = network.tensors(network.values)["conv1/weight"]
    assert weight.std() == pytest.approx((2 / (400 + 1600)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([Conv(2, 5, padding="valid")], (4, 4), ["layer 1, conv1", "5 x 5", "4 x 4 x 1"]),
        (
            [Conv(2, 3), MaxPool(2), MaxPool(4)],
            (6, 6),
            ["layer 3, max-pool3", "4 x 4", "3 x 3 x 2"],
        ),
        ([Conv(2, 3)], (2, 3, 4, 5), ["layer 1, conv1", "4 axes", "(2, 3, 4, 5)"]),
        ([Dense(3), Dense(2), Conv(1, (2, 2), padding="valid")], (9,), ["layer 3", "1 x 2 x 1"]),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_names_the_layer_and_the_shapes(
    layers: list[Layer], shape: tuple[int, ...], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        Network(layers, shape, "float32", Cpu(), seed=0)
    assert all(word in str(caught.value) for word in words), caught.value


def test_prediction_uses_the_running_averages_and_no_other_row() -> None:
    network = Network([BatchNorm()], (3,), "float64", Cpu(), seed=0)
    network.load(
        {"batch-norm1/scale": np.full(3, 2.0), "batch-norm1/shift": np.ones(3),
         "batch-norm1/mean": np.array([1.0, 2.0, 3.0]), "batch-norm1/variance": np.full(3, 4.0)},
        network.values,
    )  # fmt: skip
    x = np.array([[1.0, 2.0, 5.0], [3.0, 0.0, 3.0]])
    want = 2 * (x - [1, 2, 3]) / np.sqrt(4 + 1e-5) + 1
    np.testing.assert_allclose(network.predict(x), want)
    np.testing.assert_array_equal(network.predict(x[:1]), network.predict(x)[:1])


RUN = """
[data]
path = "data.h5"
[model]
layers = [{}]
"""


@pytest.mark.parametrize("kind", sorted(BUILT_IN))
def test_every_layer_can_be_named_in_a_run_file(kind: str) -> None:
    from disttrain.training.predictor import stacked

    needs = {"dense": "units = 3", "conv": "filters = 2"}
    table = ", ".join(filter(None, [f'kind = "{kind}"', needs.get(kind, "")]))
    settings = disttrain.parse(RUN.format(f"{{ {table} }}, {{ units = 2 }}"))
    again = disttrain.parse(disttrain.config.to_toml(settings))
    for each in (settings, again):
        first, last = stacked(each)
        assert type(first) is BUILT_IN[kind]
        assert type(last) is Dense


def test_the_keys_of_layers_reach_them() -> None:
    from disttrain.training.predictor import stacked

    settings = disttrain.parse(RUN.format(
        '{ kind = "conv", filters = 6, size = [5, 3], stride = [2, 1], padding = 1, bias = false, '
        'activation = "relu", dropout = 0.25 }, { kind = "average-pool", size = 3, stride = 2 }, '
        '{ kind = "dropout", rate = 0.5 }, { kind = "batch-norm", momentum = 0.2 }'
    ))  # fmt: skip
    conv, dropped, pool, dropout, norm = stacked(settings)
    assert (conv.filters, conv.size, conv.stride, conv.padding) == (6, (5, 3), (2, 1), 1)
    assert (conv.bias, conv.activation, dropped.rate) == (False, "relu", 0.25)
    assert (pool.size, pool.stride, dropout.rate, norm.momentum) == (3, 2, 0.5, 0.2)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('{ kind = "conv" }', ["'model.layers.0.filters' is missing"]),
        ('{ kind = "convolution", filters = 2 }', ["model.layers.0.kind", "did you mean 'conv'"]),
        ("{ units = 3, stride = 2 }", ["'model.layers.0.stride'", 'key of kind = "conv"', "dense"]),
        ('{ kind = "conv", filters = 2, padding = "some" }', ["padding"]),
        ('{ kind = "max-pool", size = 0 }', ["size", "from 1 to 4096"]),
    ],
)
def test_a_wrong_table_is_one_sentence(table: str, words: list[str]) -> None:
    with pytest.raises(RunFileError) as caught:
        disttrain.parse(RUN.format(table))
    assert all(word in str(caught.value) for word in words), caught.value
