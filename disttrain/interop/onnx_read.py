"""An ONNX graph that is a chain of layers, as settings and weights.

Read are Gemm, or MatMul and Add, Conv, pools, the activations that disttrain has, arithmetic with
constants before the first layer (the normalization), between layers or behind the last one (the
units of the targets), Softmax, LogSoftmax or ArgMax at the end, and what only moves numbers:
Flatten, Reshape, ... One input, one output, no branches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data import TargetScale
from disttrain.errors import CheckpointError, UsageError
from disttrain.interop.adopted import Adopted, settings_for
from disttrain.interop.onnx_axes import Axes, Node
from disttrain.interop.onnx_chain import LAYERS, Chain, inputs_of
from disttrain.interop.onnx_ends import (
    counted,
    names_in,
    nodes_to,
    output_of,
    pair_of,
    taken_ends,
)
from disttrain.interop.onnx_graph import onnx
from disttrain.interop.onnx_known import Known
from disttrain.interop.onnx_own import taken_back
from disttrain.interop.onnx_segments import Affine, affine_of

__all__ = ["take_onnx"]

READ = (
    "disttrain reads chains of Gemm, MatMul, Conv, pools, LayerNormalization and activations, with "
    "arithmetic between"
)
# PyTorch writes a GroupNorm as an InstanceNormalization between two Reshapes.
NORMS = ("GroupNormalization", "InstanceNormalization", "MeanVarianceNormalization", "LRN",
         "RMSNormalization")  # fmt: skip


def take_onnx(path: Path, out: Path, data: str | None = None) -> None:
    """Write the network in an ONNX file to the checkpoint `out`; `data` is the data file that it
    is meant for.

    Raises CheckpointError for a file that is missing or damaged, UsageError for a graph that is no
    chain of such layers; the sentence names the node.
    """
    model = _loaded(path)
    if not taken_back(model, path, out, data):
        facts = {prop.key: prop.value for prop in model.metadata_props}
        _adopted(_Graph(onnx(), model, str(path)), path, data, facts).save(out)


def _loaded(path: Path) -> Any:
    library = onnx()
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give an .onnx file")
    try:
        model = library.load(str(path))
        for named in (*model.opset_import, *model.graph.node):
            # The two names of the default domain.
            if named.domain == "ai.onnx":
                named.domain = ""
        library.checker.check_model(model)
    # Untrusted content may raise anything.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} can't be read as ONNX ({reason:.200})") from None
    return model


class _Graph:
    """The nodes that depend on the graph's one input, in order, and its constants."""

    def __init__(self, library: Any, model: Any, source: str) -> None:
        graph, known = model.graph, Known(library, model)
        self.source, self.tensors = source, known.tensors
        inputs = [value for value in graph.input if value.name not in known.arrays]
        if len(inputs) != 1:
            raise UsageError(f"{source} takes {counted(inputs, 'input')}, but one is read")
        tensor = inputs[0].type.tensor_type
        self.shape = [axis.dim_value for axis in tensor.shape.dim][1:]
        self.dtype = np.dtype(library.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        self.input, self.output = inputs[0].name, output_of(library, graph, source)
        self.nodes: list[Node] = []
        live = {self.input}
        for made in nodes_to(graph, self.output):
            if not known.take(made) and live & set(made.input):
                live |= set(made.output) - {""}
                given = {n: known.arrays[i] for n, i in enumerate(made.input) if i in known.arrays}
                options = {
                    option.name: library.helper.get_attribute_value(option)
                    for option in made.attribute
                }
                name = made.name or made.output[0]
                self.nodes.append(Node(made.op_type, name, given, made, options))
        self.classes = names_in(graph, known.arrays)
        for node in self.nodes:
            if node.kind in NORMS:
                raise self.refused(node, "is none of the normalizations that disttrain has, "
                                   "batch-norm and layer-norm")  # fmt: skip
        self._refuse_branches()

    def _refuse_branches(self) -> None:
        """Refuse a value that goes around a product, and one that does not come to the output."""
        places, cut = {self.input: -1}, -1
        used: set[int] = set()
        for place, node in enumerate(self.nodes):
            taken = {places[name] for name in node.made.input if name in places}
            product = node.kind in LAYERS
            around = taken != {place - 1} if product else min(taken) < cut
            if around:
                raise self.refused(node, "takes a value from before: branches are not read")
            cut, used = place if product else cut, used | taken
            # A second output of a node, as the mask of a dropout, must not be used.
            places |= dict.fromkeys(filter(None, node.made.output), -2) | {node.output: place}
        for place, node in enumerate(self.nodes):
            last = place == len(self.nodes) - 1
            leads = node.output == self.output if last else place in used
            if not leads:
                raise self.refused(node, "does not lead to the output: branches are not read")

    def parts(self) -> tuple[list[Node], list[list[Node]]]:
        """Return the products, and the nodes before the first and behind each of them."""
        products: list[Node] = []
        between: list[list[Node]] = [[]]
        for node in self.nodes:
            if node.kind in LAYERS:
                products.append(node)
                between.append([])
            else:
                between[-1].append(node)
        return products, between

    def refused(
        self, node: Node, why: str = "is not a layer that disttrain has, or not at this place"
    ) -> Exception:
        """Return the error for a node."""
        return UsageError(f"{self.source}: the node {node.name!r} ({node.kind}) {why}; {READ}")


def _before(graph: _Graph, nodes: list[Node]) -> Affine:
    """Return the arithmetic before the first layer."""
    floats = graph.dtype.kind == "f"
    before = affine_of(nodes, graph.input, Axes(tuple(graph.shape)), floats)
    if isinstance(before, Node) and not floats and before.kind in ("Add", "Sub", "Mul", "Div"):
        raise graph.refused(before, "calculates with whole numbers: convert them to floats (Cast) "
                            "before")  # fmt: skip
    if isinstance(before, Node):
        raise graph.refused(before)
    return before


def _adopted(graph: _Graph, path: Path, data: str | None, facts: dict[str, str]) -> Adopted:
    products, between = graph.parts()
    if not products:
        raise UsageError(f"{path} holds no dense layer; {READ}")
    before = _before(graph, between[0])
    if graph.classes:
        facts = {"classes": json.dumps(graph.classes)} | facts
    ends = taken_ends(between[-1], graph.refused)
    loss = facts.get("loss", "")
    if ends or loss not in ("softmax", "squared", "perceptron"):
        loss = "softmax" if ends or "classes" in facts else "squared"
    chain = Chain(graph.shape, graph.tensors, graph.refused)
    chain.pass_on(between[0])
    for product, nodes in zip(products[:-1], between[1:-1], strict=True):
        chain.take(product, nodes)
    after = _last(chain, products[-1], between[-1], loss)
    layers, outputs = chain.layers, chain.at.size
    if ends == "pair":
        pair = pair_of(layers[-1])
        if pair is None:
            raise graph.refused(products[-1], "is no layer of one output before `1 - p` and `p`")
        layers[-1], outputs = pair, 2
    shape, weight = chain.given, layers[0].weights.get("weight")
    if weight is not None and weight.ndim == 2 and (0 in shape or np.prod(shape) != len(weight.T)):
        shape = (weight.shape[1],)
        chain.given = shape
    inputs = int(np.prod(shape))
    if between[0]:
        other = graph.refused(between[0][-1], "is arithmetic with other numbers than of the inputs")
        before = Affine(*(inputs_of(chain, number, other) for number in before))
        if np.any((before.scale < 0) | ((before.scale == 0) & (before.shift != 0))):
            # A deviation is never below 0, and 0 for an input that is left out.
            raise graph.refused(between[0][-1], "multiplies an input by a negative number, or by 0")
    divisor = 255.0 if graph.dtype == np.uint8 else 1.0
    mean, deviation = _normalization(before, inputs, divisor)
    dtype = _least([layer.weights for layer in layers])
    settings = settings_for([layer.table for layer in layers], loss, dtype, path, data)
    return Adopted(
        path, settings, shape, [layer.weights for layer in layers if layer.weights],
        _classes(facts, loss, outputs), divisor, mean, deviation, after,
    )  # fmt: skip


def _classes(facts: dict[str, str], loss: str, outputs: int) -> list[str]:
    try:
        names = json.loads(facts.get("classes", "[]"))
    except ValueError:
        names = []
    if not isinstance(names, list) or len(names) != max(outputs, 2):
        names = []
    return [*map(str, names)] or [str(n) for n in range(outputs) if loss == "softmax"]


def _least(layers: Sequence[dict[str, np.ndarray]]) -> str:
    """Return the type that the network needs: float32 where all its weights are such numbers."""
    weights = [own[key] for own in layers for key in ("weight", "bias") if key in own]
    with np.errstate(over="ignore"):
        small = all(np.array_equal(w, w.astype("f4"), equal_nan=True) for w in weights)
    return "float32" if small else "float64"


def _last(chain: Chain, product: Node, nodes: list[Node], loss: str) -> TargetScale | None:
    """Take the last layer, and return the scale of the targets that stands behind it."""
    if product.kind not in ("Gemm", "MatMul"):
        raise chain.refused(product, "is the last layer, which must be a dense one")
    bias = nodes[:1] if nodes and nodes[0].kind == "Add" and product.kind == "MatMul" else []
    rest = nodes[len(bias) :]
    start = bias[0].output if bias else product.output
    after = affine_of(rest, start, Axes((0,)))
    if loss != "squared" or isinstance(after, Node) or after.plain:
        chain.take(product, nodes)
        return None
    if np.any(after.scale <= 0):
        # No unit of the targets: a part of the weights.
        chain.take(product, nodes)
        return None
    chain.take(product, bias)
    chain.pass_on(rest)
    units = chain.at.size
    if {np.size(after.shift), np.size(after.scale)} - {1, units}:
        raise chain.refused(rest[-1], "is arithmetic with other numbers than of the outputs")
    wide = [np.broadcast_to(number, units).astype("f8") for number in (after.shift, after.scale)]
    return TargetScale(*wide)


def _normalization(
    before: Affine, inputs: int, divisor: float
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mean and deviation of the inputs; None where they are taken as they are."""
    if before.plain and divisor == 1:
        return None, None
    scale = np.broadcast_to(before.scale * divisor, inputs).astype("f8")
    varies = scale != 0
    deviation = np.divide(1, scale, out=np.zeros(inputs), where=varies)
    mean = -np.broadcast_to(before.shift, inputs) * np.where(varies, deviation, 1.0)
    return mean, deviation
