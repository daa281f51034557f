"""The names and layouts that a `torch.nn.Sequential` of the same layers gives its tensors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from disttrain.errors import UsageError
from disttrain.model import Layer, Network, Shape
from disttrain.model.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool,
)
from disttrain.model.layers.images import image_of, window_on

__all__ = ["Tensor", "sequential"]

MODULES = {
    "relu": "ReLU()",
    "sigmoid": "Sigmoid()",
    "tanh": "Tanh()",
    "leaky-relu": "LeakyReLU(0.01)",
    "elu": "ELU()",
    "gelu": "GELU('tanh')",
    "silu": "SiLU()",
}
OF_NORMS = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
FIRST = (2, 0, 1)


class Tensor(NamedTuple):
    """A tensor's name there; it is ours of `shape`, its axes in another order, as `there`."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    there: tuple[int, ...]

    def out(self, ours: np.ndarray) -> np.ndarray:
        """Return our tensor as PyTorch has it."""
        moved = ours.reshape(self.shape).transpose(self.axes).reshape(self.there)
        return np.ascontiguousarray(moved)

    def back(self, theirs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return PyTorch's tensor as ours, of `shape`."""
        moved = theirs.reshape([self.shape[axis] for axis in self.axes])
        return np.ascontiguousarray(moved.transpose(np.argsort(self.axes)).reshape(shape))


class _Stack:
    """Modules so far; `image` is True behind a layer for images: channels stand first there.

    `flat` is the image that a `Flatten` made a row of, in another order there; `row` is True behind
    a dense layer.
    """

    def __init__(self, image: bool) -> None:
        self.modules: list[str] = []
        self.tensors: dict[str, Tensor] = {}
        self.image, self.row = image, False
        self.flat: Shape = ()

    def tensor(self, ours: str, key: str, shape: Shape, axes: tuple[int, ...] = (),
               there: Shape = ()) -> None:  # fmt: skip
        """Note a tensor of the module that is added next."""
        axes = axes or tuple(range(len(shape)))
        moved = tuple(shape[axis] for axis in axes)
        self.tensors[ours] = Tensor(f"{len(self.modules)}.{key}", shape, axes, there or moved)

    def take(self, name: str, layer: Layer, shape: Shape) -> None:
        """Add the modules of one layer. Raises UsageError where PyTorch has none for it."""
        kind: Any = layer
        if type(layer) is Dropout:
            self.modules.append(f"Dropout({kind.rate:g})")
        elif type(layer) is Dense:
            self._dense(name, kind, shape)
        elif type(layer) is Conv:
            self._conv(name, kind, shape)
        elif type(layer) in (MaxPool, AveragePool):
            self._as_image(name, shape)
            window = window_on(shape, kind.size, kind.stride or kind.size, "valid", "windows")
            pool = "MaxPool2d" if kind.largest else "AvgPool2d"
            self.modules.append(f"{pool}({window.size}, {window.stride})")
        elif type(layer) is GlobalAveragePool:
            self._as_image(name, shape)
            self.modules += ["AdaptiveAvgPool2d(1)", "Flatten()"]
            self.image, self.row = False, True
        elif type(layer) is Flatten and self.image:
            self.modules.append("Flatten()")
            self.image, self.flat = False, image_of(shape)
        elif type(layer) in (BatchNorm, LayerNorm):
            self._norm(name, kind, shape)
        elif type(layer) is not Flatten:
            raise UsageError(
                f"{name} is a layer of your own ({type(layer).__name__}), which torch.nn does not "
                "have: export networks of built-in layers"
            )

    def _as_image(self, name: str, shape: Shape) -> None:
        """Make an image of what stands before a layer for images."""
        if self.flat:
            raise UsageError(
                f"{name} gets a flattened image, whose numbers have another order in torch.nn: "
                "export to ONNX"
            )
        if self.row:
            height, width, channels = image_of(shape)
            self.modules.append(f"Unflatten(1, {(channels, height, width)})")
        self.image, self.row = True, False

    def _dense(self, name: str, layer: Any, shape: Shape) -> None:
        inputs = math.prod(shape)
        sides = image_of(shape) if self.image else self.flat
        if self.image:
            self.modules.append("Flatten()")
        if sides:
            self.tensor(f"{name}/weight", "weight", (layer.units, *sides), (0, 3, 1, 2),
                        (layer.units, inputs))  # fmt: skip
        else:
            self.tensor(f"{name}/weight", "weight", (layer.units, inputs))
        self.tensor(f"{name}/bias", "bias", (layer.units,))
        self.image, self.flat, self.row = False, (), True
        self.modules.append(f"Linear({inputs}, {layer.units})")
        self._activation(name, layer.activation)

    def _conv(self, name: str, layer: Any, shape: Shape) -> None:
        self._as_image(name, shape)
        window = window_on(shape, layer.size, layer.stride, layer.padding)
        sides = zip(window.covered, window.image[:2], window.before, strict=True)
        if any(covered - side > 2 * before for covered, side, before in sides):
            raise UsageError(
                f"{name} pads one row or column more below and on the right, which torch.nn.Conv2d "
                "does not: export to ONNX"
            )
        channels = window.image[2]
        self.tensor(f"{name}/weight", "weight", (*window.size, channels, layer.filters),
                    (3, 2, 0, 1))  # fmt: skip
        if layer.bias:
            self.tensor(f"{name}/bias", "bias", (layer.filters,))
        windows = f"{window.size}, {window.stride}, {window.before}"
        self.modules.append(
            f"Conv2d({channels}, {layer.filters}, {windows}{'' if layer.bias else ', bias=False'})"
        )
        self._activation(name, layer.activation)

    def _norm(self, name: str, layer: Any, shape: Shape) -> None:
        axes = FIRST if (self.image and type(layer) is LayerNorm) or self.flat else ()
        whole = self.flat or (image_of(shape) if axes else shape)
        for key, parameter in layer.parameters(shape).items():
            own = whole if axes else parameter.shape
            there = parameter.shape if self.flat else ()
            self.tensor(f"{name}/{key}", OF_NORMS[key], own, axes, there)
        if type(layer) is LayerNorm:
            there = tuple(whole[axis] for axis in axes) if axes and not self.flat else shape
            self.modules.append(f"LayerNorm({there}, {layer.epsilon:g})")
        else:
            kind = "BatchNorm2d" if self.image else "BatchNorm1d"
            count = layer.parameters(shape)["scale"].shape[0]
            self.modules.append(f"{kind}({count}, {layer.epsilon:g})")

    def _activation(self, name: str, activation: str) -> None:
        if activation == "identity":
            return
        if activation not in MODULES:
            raise UsageError(
                f"{name} has the activation {activation!r}, for which torch.nn has no module: "
                "export to ONNX"
            )
        self.modules.append(MODULES[activation])


def sequential(network: Network) -> tuple[list[str], dict[str, Tensor]]:
    """Return the modules of the Sequential, and what each of the network's tensors is there.

    Each activation and each dropout is a module of its own; images have their channels first, so
    the weights of a dense layer behind them have other columns. Raises UsageError for what PyTorch
    has no module for.
    """
    kinds = [type(layer) for layer in network.layers]
    before = kinds[: kinds.index(Dense)] if Dense in kinds else kinds
    image = len(network.shapes[0]) > 1 and bool({Conv, MaxPool, AveragePool} & set(before))
    stack = _Stack(image)
    for name, layer, shape in zip(network.names, network.layers, network.shapes, strict=False):
        stack.take(name, layer, shape)
    return stack.modules, stack.tensors
