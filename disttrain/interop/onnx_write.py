"""A trained network as an ONNX model: what it does to raw rows, up to its predictions.

Inside the graph: the preparation of a table's cells, the normalization, the layers, the softmax or
the way back to the units of the targets.
"""

from __future__ import annotations

import json

import numpy as np

from disttrain.data import Normalization
from disttrain.data.preparation import MISSING, Column, Preparation
from disttrain.environment import VERSION
from disttrain.errors import UsageError
from disttrain.interop.onnx_graph import Graph
from disttrain.interop.onnx_layers import EMIT, LayerFacts
from disttrain.interop.stated import OURS, stated
from disttrain.model import Softmax
from disttrain.model.closer import closer_from
from disttrain.runs.ensembled import Ensemble
from disttrain.runs.trained import Trained

__all__ = ["onnx_model"]


def onnx_model(trained: Trained, prepared: bool = False, plain: bool = False) -> bytes:
    """Return the ONNX model (opset 17) of a trained network.

    It takes rows as the data file has them; rows of a table that became other inputs as its cells,
    unless `prepared`. Layers that predictions compute in float64 are in float64, unless `plain`.
    Raises UsageError without the library, or where a layer is not built in.
    """
    graph, dtype = Graph(), np.dtype(trained.network.dtype)
    rows = _taken(graph, trained, prepared)
    members = trained.members if isinstance(trained, Ensemble) else [trained]
    wide = dtype if plain else np.dtype("f8")
    found = [_predicted(graph, rows, member, wide) for member in members]
    name = "probabilities" if isinstance(trained.loss, Softmax) else "outputs"
    total = found[0]
    for value in found[1:]:
        total = graph.add("Add", total, value)
    if len(found) > 1:
        # onnxruntime has no mean of float64.
        total = graph.add("Mul", total, graph.constant(np.array(1 / len(found), wide)))
    total = total if wide == dtype else graph.cast(total, dtype)
    graph.add("Identity", total, to=name)
    graph.output(name, dtype, ["rows", trained.network.outputs])
    return graph.model(trained.settings.name, _facts(trained, prepared, plain))


def _predicted(graph: Graph, rows: str, trained: Trained, wide: np.dtype) -> str:
    """Return the predictions of one network for the rows as the data file has them, as `wide`."""
    dtype = np.dtype(trained.network.dtype)
    value = _normalized(graph, rows, trained.normalization, dtype)
    value = _through_layers(graph, value, trained, wide)
    if isinstance(trained.loss, Softmax):
        return graph.add("Softmax", value, axis=-1)
    if scale := trained.feed.scale:
        value = value if wide == np.float64 else graph.cast(value, "f8")
        value = graph.add("Mul", value, graph.constant(scale.deviation))
        value = graph.add("Add", value, graph.constant(scale.mean))
        return value if wide == np.float64 else graph.cast(value, wide)
    return value


def _facts(trained: Trained, prepared: bool, plain: bool) -> dict[str, str]:
    """Return what the model's metadata say."""
    taught = trained.taught
    facts = {
        "disttrain_version": VERSION,
        "digest": trained.snapshot.digest,
        "loss": trained.settings.model.loss,
    }
    if taught.classes:
        facts["classes"] = json.dumps(taught.called, ensure_ascii=False)
    if taught.preparation:
        facts["columns"] = json.dumps([c.name for c in taught.preparation.columns])
        facts["targets"] = json.dumps(taught.preparation.targets)
    network = trained.network
    if isinstance(trained, Ensemble):
        facts["members"] = str(len(trained.members))
    elif network.dtype == trained.snapshot.settings(trained.path).model.dtype:
        shapes = {name: tensor.shape for name, tensor in network.tensors(network.values).items()}
        written = {"prepared": prepared, "plain": plain, "dtype": network.dtype, "tensors": shapes}
        facts[OURS] = json.dumps(stated(trained) | written)
    return facts


def _taken(graph: Graph, trained: Trained, prepared: bool) -> str:
    """State the inputs of the graph; return the rows as the data file has them."""
    stored = np.dtype(trained.snapshot.state["data"].get("input_dtype", "float32"))
    preparation = trained.taught.preparation
    if prepared or preparation is None or _plain(preparation):
        return graph.input("inputs", stored, ["rows", *trained.network.shapes[0]])
    columns = preparation.columns
    if all(column.kind == "number" for column in columns):
        cells = graph.input("inputs", stored, ["rows", len(columns)])
        parts = [
            _number(graph, graph.add("Gather", cells, graph.constant(np.array([n])), axis=1), c)
            for n, c in enumerate(columns)
        ]
    else:
        parts = [_column(graph, column, stored) for column in columns]
    joined = [part for column in parts for part in column]
    return graph.cast(graph.add("Concat", *joined, axis=1), stored)


def _plain(preparation: Preparation) -> bool:
    """Tell whether each column is one number, taken as it is."""
    return all(c.kind == "number" and c.width == 1 and c.fill is None for c in preparation.columns)


def _column(graph: Graph, column: Column, stored: np.dtype) -> list[str]:
    """State the input of one column and return what becomes of it."""
    if column.kind == "number":
        return _number(graph, graph.input(column.name, stored, ["rows", 1]), column)
    text = graph.input(column.name, str, ["rows", 1])
    if MISSING in column.categories:
        named = [*column.categories, ""]
        text = graph.of_text("LabelEncoder", text, keys_strings=named,
                             values_strings=[*column.categories, MISSING])  # fmt: skip
    # zeros=0: a category that the training table did not have is refused.
    ones = graph.of_text("OneHotEncoder", text, cats_strings=list(column.categories), zeros=0)
    flat = graph.add("Reshape", ones, graph.constant(np.array([-1, column.width])))
    return [graph.cast(flat, stored)]


def _number(graph: Graph, cells: str, column: Column) -> list[str]:
    """Return a number's column with its gaps filled, and the indicator where there is one."""
    stored = np.dtype("f4")
    if column.fill is None and not column.indicator:
        return [cells]
    gap = graph.add("IsNaN", graph.cast(cells, "f8"))
    filled = graph.cast(cells, "f8")
    if column.fill is not None:
        filled = graph.add("Where", gap, graph.constant(np.array([column.fill])), filled)
    indicator = [graph.cast(graph.cast(gap, stored), "f8")] if column.indicator else []
    return [filled, *indicator]


def _normalized(graph: Graph, value: str, how: Normalization, dtype: np.dtype) -> str:
    """Return the numbers that the network sees: the arithmetic of `Normalization.apply`."""
    scale, shift = how.factors(dtype)
    shape = (1, -1)
    if how.pixels:
        flat = graph.add("Flatten", graph.cast(value, dtype), axis=1)
        product = graph.add("Mul", flat, graph.constant(scale.astype(dtype).reshape(shape)))
        return graph.add("Add", product, graph.constant(shift.reshape(shape)))
    if not how.mean.any() and (scale == 1).all():
        return graph.add("Flatten", graph.cast(value, dtype), axis=1)
    flat = graph.add("Flatten", graph.cast(value, "f8"), axis=1)
    moved = graph.add("Sub", flat, graph.constant(how.mean.reshape(shape)))
    scaled = graph.add("Mul", moved, graph.constant(scale.astype("f8").reshape(shape)))
    return graph.cast(scaled, dtype)


def _through_layers(graph: Graph, value: str, trained: Trained, wide: np.dtype) -> str:
    """Return the outputs of the last layer, as `wide`."""
    network, dtype = trained.network, np.dtype(trained.network.dtype)
    tensors, first = network.tensors(network.values), closer_from(network)
    for number, (name, layer, shape) in enumerate(
        zip(network.names, network.layers, network.shapes, strict=False)
    ):
        if number == first and dtype != wide:
            value, dtype = graph.cast(value, wide), wide
        emit = EMIT.get(type(layer))
        if emit is None:
            raise UsageError(
                f"{name} of {trained.path} is a layer of your own ({type(layer).__name__}), for "
                "which ONNX has no operator: export networks of built-in layers"
            )
        own = {key: tensors[f"{name}/{key}"].astype(dtype) for key in layer.parameters(shape)}
        value = emit(graph, value, layer, LayerFacts(name, shape, own, dtype))
    return value if dtype == wide else graph.cast(value, wide)
