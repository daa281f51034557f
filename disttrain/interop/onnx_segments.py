"""What stands between two products of a graph: arithmetic with constants, or an activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays import Cpu
from disttrain.interop.onnx_axes import Axes, Node
from disttrain.interop.onnx_graph import onnx

__all__ = ["MOVES", "Affine", "activation_of", "affine_of", "to_floats"]

AXES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
MOVES = AXES | {"Cast", "Identity", "Dropout"}
KNOWN = ("identity", "relu", "sigmoid", "tanh", "leaky-relu", "elu", "gelu", "silu", "sign")
# Where a function of a graph is compared with each activation.
SCALER = (("offset", 0.0), ("scale", 1.0))
FAR = np.geomspace(8, 1e18, 36)
PROBES = np.concatenate([np.linspace(-6, 6, 49), FAR, -FAR])
CLOSE = 2e-6


class Affine(NamedTuple):
    """`x * scale + shift` in float64, each one number or one for each column."""

    scale: Any = np.float64(1.0)
    shift: Any = np.float64(0.0)

    @property
    def plain(self) -> bool:
        """True where it changes nothing."""
        return bool(np.all(self.scale == 1) and np.all(self.shift == 0))

    @property
    def finite(self) -> bool:
        """True where it holds neither NaN nor infinity."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())

    def then(self, kind: str, number: Any) -> Affine:
        """Return it followed by one operation with a constant."""
        if kind in ("Mul", "Div"):
            with np.errstate(divide="ignore", invalid="ignore"):
                factor = number if kind == "Mul" else 1 / number
                return Affine(self.scale * factor, self.shift * factor)
        return Affine(self.scale, self.shift + (number if kind == "Add" else -number))


def affine_of(nodes: Sequence[Node], value: str, axes: Axes, floats: bool = True) -> Affine | Node:
    """Return the arithmetic that the nodes do with a value, or the first node that is something
    else; `axes` are those of the value, `floats` is False where it is whole numbers."""
    found = Affine()
    for node in nodes:
        behind, steps = axes.behind(node), _steps(node, axes)
        if value not in node.made.input or behind is None or steps is None:
            return node
        # Whole numbers are divided and run over by rules of their own.
        if steps and not floats:
            return node
        floats = floats or node.kind == "Cast"
        for kind, number in steps:
            sizes = {np.size(number), np.size(found.scale), np.size(found.shift)}
            if len(sizes - {1}) > 1:
                return node
            found = found.then(kind, number)
        if not found.finite:
            return node
        value, axes = node.output, behind
    return found


def to_floats(node: Node) -> bool:
    """Tell whether a node is a conversion from one type of floats to another."""
    if node.kind != "Cast":
        return False
    kind: np.dtype = np.dtype(onnx().helper.tensor_dtype_to_np_dtype(node.options["to"]))
    return kind.kind == "f"


def _steps(node: Node, axes: Axes) -> list[tuple[str, Any]] | None:
    """Return the operations with constants that a node does; None where it does something else."""
    if node.kind == "Cast":
        return [] if to_floats(node) else None
    if node.kind in MOVES:
        return []
    if node.kind == "BatchNormalization" and len(node.given) == 4:
        scale, shift, mean, variance = (node.given[n].astype("f8") for n in range(1, 5))
        scale = scale / np.sqrt(variance + node.options.get("epsilon", 1e-5))
        # Its numbers belong to the axis behind the rows.
        shape = (-1, *[1] * (0 if axes.flat else len(axes.sides) - 1))
        numbers = [axes.number(each.reshape(shape)) for each in (mean, scale, shift)]
        known = not node.options.get("training_mode") and all(n is not None for n in numbers)
        return list(zip(("Sub", "Mul", "Add"), numbers, strict=True)) if known else None
    if node.kind == "Neg":
        return [("Mul", -1.0)]
    if node.kind == "Scaler":
        # scikit-learn's scalers, by skl2onnx.
        own = [axes.number(np.array(node.options.get(k, [d]))) for k, d in SCALER]
        known = all(number is not None for number in own)
        return list(zip(("Sub", "Mul"), own, strict=True)) if known else None
    if node.kind not in ("Add", "Sub", "Mul", "Div") or len(node.given) != 1:
        return None
    ((place, constant),) = node.given.items()
    number = axes.number(constant)
    if number is None or (place == 0 and node.kind == "Div"):
        return None
    turned = place == 0 and node.kind == "Sub"
    return [("Mul", -1.0), ("Add", number)] if turned else [(node.kind, number)]


def activation_of(
    nodes: Sequence[Node], start: str, units: int, dtype: np.dtype, constants: Sequence[Any]
) -> str | None:
    """Return the activation that the nodes compute from the value `start`; None for another one.

    It is known by its values: graphs write one activation in several ways.
    """
    work = [node for node in nodes if node.kind not in AXES | {"Dropout", "Identity"}]
    if not work:
        return "identity"
    computed = _computed(nodes, start, units, dtype, constants)
    if computed is None:
        return None
    for name in KNOWN:
        want = np.repeat(PROBES[:, None], units, axis=1).astype(dtype)
        # Far probes overflow, which is the function's own affair; so below.
        with np.errstate(all="ignore"):
            Cpu.kernels.activate(want, np.zeros(units, dtype), name)
        if np.allclose(computed, want, rtol=CLOSE, atol=CLOSE):
            return name
    return None


def _computed(
    nodes: Sequence[Node], start: str, units: int, dtype: np.dtype, constants: Sequence[Any]
) -> np.ndarray | None:
    """Return what the nodes make of the probes, or None where they can't be computed alone.

    The probes stand for the numbers of an image too: what moves its axes is left out.
    """
    library = onnx()
    helper, reference = library.helper, __import__("onnx.reference", fromlist=["x"])
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    called: dict[str, str] = {}
    kept = []
    for node in nodes:
        if node.kind in AXES | {"Dropout", "Identity"}:
            called[node.output] = called.get(node.made.input[0], node.made.input[0])
            continue
        copy = type(node.made)()
        copy.CopyFrom(node.made)
        copy.input[:] = [called.get(name, name) for name in copy.input]
        kept.append(copy)
    end = kept[-1].output[0]
    graph = helper.make_graph(
        kept, "part", [helper.make_tensor_value_info(start, kind, None)],
        [helper.make_tensor_value_info(end, kind, None)], list(constants),
    )  # fmt: skip
    sets = [helper.make_opsetid("", 20)]
    rows = np.repeat(PROBES[:, None], units, axis=1).astype(dtype)
    try:
        made = reference.ReferenceEvaluator(helper.make_model(graph, opset_imports=sets))
        with np.errstate(all="ignore"):
            (found,) = made.run(None, {start: rows})
    # Nodes of any program: whatever the evaluator can't do.
    except Exception:
        return None
    return np.asarray(found) if np.shape(found) == rows.shape else None
