"""The layers of an ONNX graph, one behind the other, as tables of a run file and their weights.

`at` of a chain are the axes that a value has in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.errors import UsageError
from disttrain.interop.onnx_axes import Axes, Node
from disttrain.interop.onnx_norms import Layer, batch_norm, layer_norm
from disttrain.interop.onnx_segments import MOVES, Affine, activation_of, affine_of
from disttrain.model.layers.images import image_of, window_on

__all__ = ["LAYERS", "Chain", "inputs_of"]

PRODUCTS = ("Gemm", "MatMul", "Conv")
IMAGES = ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")
LAYERS = (*PRODUCTS, *IMAGES, "LayerNormalization")
ACTIVATIONS = (
    "relu, sigmoid, tanh, leaky-relu (slope 0.01), elu (alpha 1), gelu (by tanh), silu, sign"
)
RISING = ("relu", "sigmoid", "tanh", "leaky-relu", "elu", "sign")


class Chain:
    """Layers so far; `refused` makes the error for a node."""

    def __init__(
        self, shape: Sequence[int], constants: Sequence[Any], refused: Callable[..., Exception]
    ) -> None:
        self.layers: list[Layer] = []
        self.at, self.constants, self.refused = Axes(tuple(shape)), constants, refused
        self.given, self.turned = self.at.sides, False

    def pass_on(self, nodes: Sequence[Node]) -> list[Axes]:
        """Follow the axes through nodes, and return those before each node and behind the last."""
        trail = [self.at]
        for node in nodes:
            behind = trail[-1].behind(node)
            if behind is None:
                raise self.refused(node, "moves numbers as no layer of disttrain does")
            trail.append(behind)
        self.at = trail[-1]
        return trail

    def take(self, node: Node, behind: Sequence[Node]) -> None:
        """Add the layer of a node, with what stands behind it up to the next one."""
        made = self.made(node)
        trail = self.pass_on(behind)
        split = self._split if "weight" in made.weights else self._split_plain
        found = split(made, node.output, behind, trail)
        if found is None:
            work = [n for n in behind if n.kind not in MOVES] or list(behind)
            first = next((n for n in work if n.kind != "Add"), work[0])
            raise self.refused(first, _other(node, work))
        self.layers += found

    def made(self, node: Node) -> Layer:
        """Return the layer of a node itself, without an activation."""
        if node.kind in ("Gemm", "MatMul"):
            weight, bias = self._dense(node)
            return Layer({"units": len(weight), "activation": "identity"},
                         {"weight": weight, "bias": bias})  # fmt: skip
        if node.kind == "LayerNormalization":
            layer, self.at = layer_norm(node, self.at, self.refused)
            return layer
        self._images(node)
        if node.kind == "Conv":
            return self._conv(node)
        if node.kind in ("GlobalAveragePool", "ReduceMean"):
            if node.kind == "ReduceMean" and _axes(node) != ([2, 3] if self.at.first else [1, 2]):
                raise self.refused(node)
            self.at = Axes((self.at.sides[0 if self.at.first else 2],), made=True)
            return Layer({"kind": "global-average-pool"}, {})
        return self._pool(node)

    def _images(self, node: Node) -> None:
        """Refuse values that are no images, and options that no layer has."""
        if not self.layers and not self.at.first:
            # A graph of another program, whose rows have their channels first.
            self.turned = node.kind != "ReduceMean" or _axes(node) == [2, 3]
            self.at = self.at._replace(first=self.turned)
        if self.at.flat or len(self.at.sides) != 3 or min(self.at.sides) < 1:
            raise self.refused(node, "gets images whose height and width the graph does not state")
        if not self.at.first and node.kind != "ReduceMean":
            raise self.refused(node, "gets images whose channels come last")
        if node.options.get("group", 1) != 1 or any(
            step != 1 for step in node.options.get("dilations", [])
        ):
            raise self.refused(node, "has groups, dilations or other options that no layer has")
        sides = self.at.sides
        image = (*sides[1:], sides[0]) if self.at.first else sides
        stated = 0 < len(self.given) < 4 and image_of(self.given) == image
        if not self.layers and not stated:
            self.given = image[:2] if image[2] == 1 else image

    def _window(self, node: Node, paddings: Sequence[Any]) -> dict[str, Any]:
        """Return size, stride and padding; the axes become those behind the windows."""
        options = node.options
        channels, *sides = self.at.sides
        size = [int(side) for side in options.get("kernel_shape", [])]
        stride = [int(step) for step in options.get("strides", [1, 1])]
        pads = list(options.get("pads", [0, 0, 0, 0]))
        auto = options.get("auto_pad", b"NOTSET")
        for padding in paddings if len(size) == 2 else ():
            try:
                window = window_on((*sides, channels), (size[0], size[1]), (stride[0], stride[1]),
                                   padding)  # fmt: skip
            except UsageError:
                # Too small without the border of another padding.
                continue
            ends = [max(0, covered - side - before) for covered, side, before in
                    zip(window.covered, sides, window.before, strict=True)]  # fmt: skip
            own = [*window.before, *ends]
            # A border that no window reaches is none.
            reached = all(mine == pad or (n > 1 and mine < pad == own[n - 2])
                          for n, (mine, pad) in enumerate(zip(own, pads, strict=True)))  # fmt: skip
            if reached if auto in (b"NOTSET", b"") else (auto, padding) in (
                (b"SAME_UPPER", "same"), (b"VALID", "valid")
            ):  # fmt: skip
                self.at = Axes((channels, *window.out), first=True, made=True)
                return {"size": size, "stride": stride, "padding": padding}
        raise self.refused(node, "has a padding that no layer of disttrain has")

    def _conv(self, node: Node) -> Layer:
        weight = node.given.get(1)
        if weight is None or weight.ndim != 4 or weight.shape[1] != self.at.sides[0]:
            raise self.refused(node, "is not a convolution of images by constant filters")
        node.options.setdefault("kernel_shape", list(weight.shape[2:]))
        pads = node.options.get("pads", [0])
        table = self._window(node, ["valid", "same", int(max(pads))])
        weight = self._floats(node, weight)
        bias = self._bias(node, weight)
        self.at = self.at._replace(sides=(len(weight), *self.at.sides[1:]))
        return Layer({"kind": "conv", "filters": len(weight), "activation": "identity", **table},
                     {"weight": weight.transpose(2, 3, 1, 0), "bias": bias})  # fmt: skip

    def _pool(self, node: Node) -> Layer:
        sides = self.at.sides[1:]
        table = self._window(node, ["valid"])
        left = [(side - of) % step for side, of, step in
                zip(sides, table["size"], table["stride"], strict=True)]  # fmt: skip
        if node.options.get("ceil_mode") and any(left):
            raise self.refused(node, "has windows that reach beyond the image (ceil_mode)")
        del table["padding"]
        kind = "max-pool" if node.kind == "MaxPool" else "average-pool"
        return Layer({"kind": kind, **table}, {})

    def _dense(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        given, options = node.given, node.options
        if 1 not in given or given[1].ndim != 2 or options.get("transA"):
            raise self.refused(node, "is not a product with a constant matrix")
        weight = self._floats(node, given[1] if options.get("transB") else given[1].T)
        weight = weight * weight.dtype.type(options.get("alpha", 1.0))
        bias = self._bias(node, weight)
        sides = self.at.sides
        if self.at.size != weight.shape[1] and (self.at.size or len(sides) > 1):
            raise self.refused(node, "uses only a part of its inputs")
        if self.at.first:
            # Its columns are in the order of (channels, height, width).
            images = weight.reshape(len(weight), *sides).transpose(0, 2, 3, 1)
            weight = images.reshape(len(weight), -1)
        self.at = Axes((len(weight),), made=True)
        return np.ascontiguousarray(weight), bias

    def _floats(self, node: Node, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            raise self.refused(node, f"has weights of {array.dtype}: export it in float32")
        return array.astype("f4") if array.itemsize < 4 else array

    def _bias(self, node: Node, weight: np.ndarray) -> np.ndarray:
        """Return the bias of each unit or filter, 0 where the node has none."""
        bias = np.zeros(len(weight), weight.dtype)
        if len(node.made.input) < 3 or not node.made.input[2]:
            return bias
        own = node.given.get(2)
        wrong = own is not None and own.size != 1 and {own.shape[-1], own.size} != {len(bias)}
        if own is None or wrong:
            raise self.refused(node, "has a bias that is not one constant for each unit")
        beta = weight.dtype.type(node.options.get("beta", 1))
        return np.asarray(bias + self._floats(node, own).reshape(-1) * beta)

    def _split(
        self, made: Layer, value: str, nodes: Sequence[Node], trail: Sequence[Axes]
    ) -> list[Layer] | None:
        """Return the layer with the nodes behind it: arithmetic that becomes a part of its weights,
        the activation, and arithmetic that becomes a batch normalization of constants."""
        units, dtype = len(made.weights["bias"]), made.weights["bias"].dtype
        for until in range(len(nodes), -1, -1):
            into = affine_of(nodes[:until], value, trail[0])
            if isinstance(into, Node) or not _fits(into, units):
                continue
            start = nodes[until - 1].output if until else value
            for end in range(until, len(nodes) + 1):
                after = affine_of(nodes[end:], nodes[end - 1].output if end else value, trail[end])
                if isinstance(after, Node) or not _fits(after, units):
                    continue
                part = nodes[until:end]
                found = activation_of(part, start, units, dtype, self.constants)
                if found:
                    layer = Layer(made.table | {"activation": found}, _scaled(made.weights, into))
                    return [layer, *batch_norm(after, units, dtype)]
        return None

    def _split_plain(
        self, made: Layer, value: str, nodes: Sequence[Node], trail: Sequence[Axes]
    ) -> list[Layer] | None:
        """Do the same for a layer without an activation; `max f(x) = f(max x)` where `f` rises."""
        units = trail[0].sides[0 if trail[0].first else -1]
        before = self.layers[-1] if self.layers else None
        dtype = next((w.dtype for layer in self.layers for w in layer.weights.values()),
                     np.dtype("f4"))  # fmt: skip
        for end in range(len(nodes) + 1):
            after = affine_of(nodes[end:], nodes[end - 1].output if end else value, trail[end])
            if isinstance(after, Node) or not _fits(after, units):
                continue
            found = activation_of(nodes[:end], value, units, dtype, self.constants)
            if found in RISING and before and made.table["kind"] == "max-pool":
                if before.table.get("activation") != "identity":
                    return None
                self.layers[-1] = Layer(before.table | {"activation": found}, before.weights)
            elif found != "identity":
                continue
            return [made, *batch_norm(after, units, dtype)]
        return None


def inputs_of(chain: Chain, number: Any, refused: Exception) -> Any:
    """Return a number of each input, or one for all, in disttrain's order of the inputs."""
    size, inputs = np.size(number), math.prod(chain.given)
    if size == 1 or (size == inputs and not chain.turned):
        return number
    if size == inputs:
        return np.reshape(number, (inputs // math.prod(chain.given[:2]), -1)).T.reshape(-1)
    raise refused


def _other(node: Node, behind: Sequence[Node]) -> str:
    """Return what is wrong with what stands behind a layer."""
    kinds = ", ".join(dict.fromkeys(n.kind for n in behind))
    own = (
        f"not one activation; activations are {ACTIVATIONS}" if node.kind in PRODUCTS
        else "not arithmetic with constants; an activation belongs to a dense layer or a Conv"
    )  # fmt: skip
    return (
        "is not a layer that disttrain has, or not at this place: behind "
        f"{node.name!r} ({node.kind}) stands {kinds}, {own}"
    )


def _fits(affine: Affine, units: int) -> bool:
    return np.size(affine.scale) in (1, units) and np.size(affine.shift) in (1, units)


def _scaled(weights: dict[str, np.ndarray], by: Affine) -> dict[str, np.ndarray]:
    """Return the weights of a layer that does the arithmetic too."""
    weight, bias = weights["weight"], weights["bias"]
    # Filters are the last axis of a convolution's, units the first one of a dense layer's.
    scale = np.broadcast_to(by.scale, len(bias))
    whole = weight * (scale if weight.ndim == 4 else scale[:, None])
    return {"weight": whole.astype(weight.dtype),
            "bias": (bias * scale + by.shift).astype(bias.dtype)}  # fmt: skip


def _axes(node: Node) -> list[int]:
    """Return the axes of a mean, counted from the first one."""
    return sorted(axis % 4 for axis in node.along or [])
