"""Each built-in layer as ONNX's operators.

A value is (rows, *shape) or flat; images are (rows, height, width, channels), which ONNX's
convolution takes with the channels first: a transposition before and one behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays.cpu_kernels import CUBE, LEAK, ROOT
from disttrain.arrays.windows import Window
from disttrain.interop.onnx_graph import Graph
from disttrain.model import Dense, Dropout, Layer
from disttrain.model.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool,
)
from disttrain.model.layers.images import image_of, window_on

__all__ = ["EMIT", "LayerFacts"]


class LayerFacts(NamedTuple):
    """A layer's name, the shape of the samples that it gets, its parameters, and their type."""

    name: str
    shape: tuple[int, ...]
    tensors: dict[str, np.ndarray]
    dtype: np.dtype

    def constant(self, graph: Graph, key: str, array: np.ndarray | None = None) -> str:
        """Add a parameter, or an array made of it, under its own name.

        Numbers that are float32's are stored as such, and converted when the graph is loaded.
        """
        own = self.tensors[key] if array is None else array
        small = own.astype("f4")
        if own.dtype == small.dtype or (small != own).any():
            return graph.constant(own, f"{self.name}/{key}")
        return graph.cast(graph.constant(small, f"{self.name}/{key}"), own.dtype)


def _dense(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    flat = graph.add("Flatten", value, axis=1)
    weight, bias = at.constant(graph, "weight"), at.constant(graph, "bias")
    made = graph.add("Gemm", flat, weight, bias, transB=1)
    return ACTIVATIONS[layer.activation](graph, made, at.dtype)


def _shaped(graph: Graph, value: str, shape: tuple[int, ...]) -> str:
    return graph.add("Reshape", value, graph.constant(np.array([-1, *shape])))


def _on_images(
    graph: Graph, value: str, at: LayerFacts, kind: str, *more: str, **options: Any
) -> str:
    """Add an operator on images with the channels first."""
    first = graph.add("Transpose", _shaped(graph, value, image_of(at.shape)), perm=[0, 3, 1, 2])
    return graph.add("Transpose", graph.add(kind, first, *more, **options), perm=[0, 2, 3, 1])


def _windows(graph: Graph, value: str, window: Window, ends: list[int]) -> str:
    """Return the numbers that lie in each window, (rows, windows, places in it, channels)."""
    (height, width, channels), top, left = window.image, *window.before
    pads = np.array([0, top, left, 0, 0, *ends, 0])
    value = graph.add("Pad", _shaped(graph, value, window.image), graph.constant(pads))
    wide = width + left + ends[1]
    value = _shaped(graph, value, ((height + top + ends[0]) * wide, channels))
    rows, columns = (
        np.arange(count)[:, None] * stride + np.arange(size)
        for count, stride, size in zip(window.out, window.stride, window.size, strict=True)
    )
    at = rows[:, None, :, None] * wide + columns[None, :, None, :]
    at = at.reshape(window.out[0] * window.out[1], -1)
    return graph.add("Gather", value, graph.constant(at.astype("i8")), axis=1)


def _conv(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    window = window_on(at.shape, layer.size, layer.stride, layer.padding)
    ends = [
        max(0, covered - side - before)
        for covered, side, before in zip(
            window.covered, window.image[:2], window.before, strict=True
        )
    ]
    bias = [at.constant(graph, "bias")] if layer.bias else []
    if at.dtype == np.float64:
        # onnxruntime has no convolution of float64.
        own = at.tensors["weight"]
        each = own.size // layer.filters
        rows = _shaped(graph, _windows(graph, value, window, ends), (math.prod(window.out), each))
        made = graph.add("MatMul", rows, at.constant(graph, "weight", own.reshape(each, -1)))
        made = graph.add("Add", made, *bias) if bias else made
        made = _shaped(graph, made, (*window.out, layer.filters))
        return ACTIVATIONS[layer.activation](graph, made, at.dtype)
    weight = at.constant(graph, "weight", at.tensors["weight"].transpose(3, 2, 0, 1))
    made = _on_images(graph, value, at, "Conv", weight, *bias, kernel_shape=list(window.size),
                      strides=list(window.stride), pads=[*window.before, *ends])  # fmt: skip
    return ACTIVATIONS[layer.activation](graph, made, at.dtype)


def _pool(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    window = window_on(at.shape, layer.size, layer.stride or layer.size, "valid", "windows")
    if at.dtype == np.float64 and not layer.largest:
        # Nor a mean of windows.
        rows = _windows(graph, value, window, [0, 0])
        means = graph.add("ReduceMean", rows, axes=[2], keepdims=0)
        return _shaped(graph, means, (*window.out, window.image[2]))
    kind = "MaxPool" if layer.largest else "AveragePool"
    return _on_images(graph, value, at, kind, kernel_shape=list(window.size),
                      strides=list(window.stride))  # fmt: skip


def _means(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    images = _shaped(graph, value, image_of(at.shape))
    return graph.add("ReduceMean", images, axes=[1, 2], keepdims=0)


def _batch_norm(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    # Computed once, when the graph is loaded: so the file holds the variance itself.
    epsilon, one = (_number_of(graph, number, at.dtype) for number in (layer.epsilon, 1))
    deviation = graph.add("Sqrt", graph.add("Add", at.constant(graph, "variance"), epsilon))
    value = _shaped(graph, value, at.shape)
    value = graph.add("Sub", value, at.constant(graph, "mean"))
    value = graph.add("Mul", value, graph.add("Div", one, deviation))
    value = graph.add("Mul", value, at.constant(graph, "scale"))
    return graph.add("Add", value, at.constant(graph, "shift"))


def _layer_norm(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    width = math.prod(at.shape)
    own = [at.constant(graph, key, at.tensors[key].reshape(width)) for key in ("scale", "shift")]
    flat = graph.add("Flatten", value, axis=1)
    return graph.add("LayerNormalization", flat, *own, axis=1, epsilon=layer.epsilon)


def _as_it_is(graph: Graph, value: str, layer: Any, at: LayerFacts) -> str:
    return value


EMIT: dict[type[Layer], Callable[[Graph, str, Any, LayerFacts], str]] = {
    Dense: _dense,
    Conv: _conv,
    MaxPool: _pool,
    AveragePool: _pool,
    GlobalAveragePool: _means,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Dropout: _as_it_is,
    Flatten: _as_it_is,
}


def _number_of(graph: Graph, number: float, dtype: np.dtype) -> str:
    return graph.constant(np.array(number, dtype))


def _one(kind: str) -> Callable[[Graph, str, np.dtype], str]:
    return lambda graph, value, dtype: graph.add(kind, value)


def _leaky(graph: Graph, a: str, dtype: np.dtype) -> str:
    return graph.add("Max", a, graph.add("Mul", a, _number_of(graph, LEAK, dtype)))


def _elu(graph: Graph, a: str, dtype: np.dtype) -> str:
    """`max(a, 0) + e^min(a, 0) - 1`."""
    zero, one = _number_of(graph, 0, dtype), _number_of(graph, 1, dtype)
    below = graph.add("Sub", graph.add("Exp", graph.add("Min", a, zero)), one)
    return graph.add("Add", graph.add("Max", a, zero), below)


def _silu(graph: Graph, a: str, dtype: np.dtype) -> str:
    return graph.add("Mul", a, graph.add("Sigmoid", a))


def _gelu(graph: Graph, a: str, dtype: np.dtype) -> str:
    """`a (1 + tanh(√(2/π) (a + 0.044715 a³))) / 2`."""
    cube = graph.add("Mul", graph.add("Mul", a, a), a)
    inner = graph.add("Add", a, graph.add("Mul", cube, _number_of(graph, CUBE, dtype)))
    tanh = graph.add("Tanh", graph.add("Mul", inner, _number_of(graph, ROOT, dtype)))
    half = graph.add("Mul", a, _number_of(graph, 0.5, dtype))
    return graph.add("Mul", half, graph.add("Add", tanh, _number_of(graph, 1, dtype)))


ACTIVATIONS: dict[str, Callable[[Graph, str, np.dtype], str]] = {
    "identity": lambda graph, value, dtype: value,
    "relu": _one("Relu"),
    "sigmoid": _one("Sigmoid"),
    "tanh": _one("Tanh"),
    "sign": _one("Sign"),
    "leaky-relu": _leaky,
    "elu": _elu,
    "silu": _silu,
    "gelu": _gelu,
}
