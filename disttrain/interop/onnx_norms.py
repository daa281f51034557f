"""Normalizations of an ONNX graph as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from disttrain.interop.onnx_axes import Axes, Node
from disttrain.interop.onnx_segments import Affine
from disttrain.model.layers import BatchNorm

__all__ = ["Layer", "batch_norm", "layer_norm"]


class Layer(NamedTuple):
    """A layer's table in a run file, and its tensors by name."""

    table: dict[str, Any]
    weights: dict[str, np.ndarray]


def batch_norm(affine: Affine, units: int, dtype: np.dtype) -> list[Layer]:
    """Return arithmetic as a normalization: of mean 0, and of variance 1 with its epsilon."""
    if affine.plain:
        return []
    rest = np.full(units, 1 - BatchNorm().epsilon)
    own = {"scale": affine.scale, "shift": affine.shift, "mean": 0.0, "variance": rest}
    tensors = {key: np.broadcast_to(value, units).astype(dtype) for key, value in own.items()}
    return [Layer({"kind": "batch-norm"}, tensors)]


def layer_norm(node: Node, at: Axes, refused: Callable[..., Exception]) -> tuple[Layer, Axes]:
    """Return a normalization of each sample, and the axes behind it; `at` are those before it.

    Its numbers lie in disttrain's order. Raises `refused` where it goes over a part of the sample.
    """
    scale = node.given.get(1)
    sides = at.sides if at.size or scale is None else (scale.size,)
    if node.options.get("axis", -1) not in (1, -1 if at.flat else -len(sides)):
        raise refused(
            node, "normalizes parts of a sample, where layer-norm takes a whole one (axis 1)"
        )
    if len(sides) == 3 and not (at.made or at.flat):
        raise refused(node, "gets images before the first layer")
    biased = len(node.made.input) > 2 and node.made.input[2]
    numbers = [scale, node.given.get(2) if biased else np.zeros(1, "f4")]
    own = []
    for number in numbers:
        wide = None if number is None else _spread(number, (at.size,) if at.flat else sides)
        if wide is None or wide.dtype.kind != "f":
            raise refused(node, "has a scale or bias that is not one constant for each input")
        image = wide.reshape(sides)
        image = image.transpose(1, 2, 0) if at.first else image
        own.append(image.reshape(-1).astype("f4" if image.itemsize < 4 else image.dtype))
    # The option is a float32: 1e-5 is meant where 9.99999975e-06 stands.
    epsilon = float(f"{node.options.get('epsilon', 1e-5):.7g}")
    table = {"kind": "layer-norm", "epsilon": epsilon}
    layer = Layer(table, {"scale": own[0], "shift": own[1]})
    return layer, at._replace(sides=sides, made=True)


def _spread(number: np.ndarray, sides: tuple[int, ...]) -> np.ndarray | None:
    """Return a constant as an array of `sides`; None where it is of another shape."""
    try:
        return np.broadcast_to(number, sides)
    except ValueError:
        return None
