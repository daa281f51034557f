"""What an ONNX graph gives: the output that is read, and what makes classes of it.

Programs give a label beside the probabilities (scikit-learn's by skl2onnx): its nodes are left out,
and the names of the classes are taken from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.errors import UsageError
from disttrain.interop.onnx_axes import Node
from disttrain.interop.onnx_norms import Layer
from disttrain.interop.onnx_segments import to_floats

__all__ = ["counted", "names_in", "nodes_to", "output_of", "pair_of", "taken_ends"]


def counted(values: Sequence[Any], what: str) -> str:
    """Return how many values there are, with the names of the first ones."""
    names = [value.name for value in values[:5]]
    more = [f"and {len(values) - 5} more"] if len(values) > 5 else []
    return f"{len(values)} {what}s" + (f" ({', '.join(names + more)})" if names else "")


def output_of(library: Any, graph: Any, source: str) -> str:
    """Return the name of the output that is read: the only one, or the only one of floats.

    Raises UsageError where it is not known which.
    """
    kinds = library.TensorProto
    floats = (kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16)
    several = list(graph.output)
    numbers = [value for value in several if value.type.tensor_type.elem_type in floats]
    chosen = several if len(several) == 1 else numbers
    if len(chosen) == 1:
        return str(chosen[0].name)
    maps = any(value.type.HasField("sequence_type") for value in several)
    how = "; maps are not: convert the model with zipmap=False" if maps else ""
    raise UsageError(f"{source} gives {counted(several, 'output')}, one is read{how}")


def nodes_to(graph: Any, output: str) -> list[Any]:
    """Return the nodes that an output is computed by; all, where there is no other output."""
    if len(graph.output) == 1:
        return list(graph.node)
    wanted, found = {output}, []
    for made in reversed(graph.node):
        if wanted & set(made.output):
            wanted |= set(made.input)
            found.append(made)
    return found[::-1]


def names_in(graph: Any, arrays: dict[str, np.ndarray]) -> list[str]:
    """Return the names of the classes that labels are taken from, empty where there are none."""
    for made in graph.node:
        if made.op_type == "ArrayFeatureExtractor" and made.input[0] in arrays:
            names = arrays[made.input[0]].reshape(-1).tolist()
            return [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names]
    return []


def taken_ends(nodes: list[Node], refused: Callable[..., Exception]) -> str:
    """Take away what makes classes of the outputs; return "softmax", "pair" for the probabilities
    `(1 - p, p)` of one output, or "" where there was nothing."""
    found = ""
    for kinds in (("ArgMax",), ("Softmax", "LogSoftmax")):
        while nodes and (nodes[-1].kind == "Identity" or to_floats(nodes[-1])):
            nodes.pop()
        if nodes and nodes[-1].kind in kinds:
            if nodes[-1].options.get("axis", 0 if kinds == ("ArgMax",) else -1) not in (1, -1):
                raise refused(nodes[-1], "does not go along the outputs (axis 1)")
            nodes.pop()
            found = "softmax"
    if not found and _is_pair(nodes[-3:]):
        del nodes[-3:]
        return "pair"
    return found


def _is_pair(nodes: list[Node]) -> bool:
    if [node.kind for node in nodes] != ["Sigmoid", "Sub", "Concat"]:
        return False
    one, other, both = nodes
    turned = other.made.input[1] == one.output and bool(np.all(other.given.get(0, 0) == 1))
    joined = list(both.made.input) == [other.output, one.output]
    return turned and joined and both.options.get("axis") in (1, -1)


def pair_of(layer: Layer) -> Layer | None:
    """Return a layer of one output `a` as one of two outputs, 0 and `a`, whose softmax is
    `(1 - p, p)` of the sigmoid; None for another layer."""
    bias = layer.weights.get("bias", np.empty(0))
    if len(bias) != 1 or layer.table.get("activation") != "identity":
        return None
    wide = {key: np.concatenate([np.zeros_like(own), own]) for key, own in layer.weights.items()}
    return Layer(layer.table | {"units": 2}, wide)
