"""ONNX files of ours, read back to the bit: the same layers, weights and type.

Nothing is taken on trust: a file is ours if the network that it states gives, exported once more,
the very graph that is in the file. Any other graph is read as one of another program.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.checkpoint import save
from disttrain.comm.alone import Alone
from disttrain.errors import DisttrainError, UsageError
from disttrain.interop.onnx_graph import onnx
from disttrain.interop.onnx_write import onnx_model
from disttrain.interop.stated import DAMAGED, OURS, snapshot_of
from disttrain.runs.trained import load_trained

__all__ = ["taken_back"]


def taken_back(model: Any, source: Path, out: Path, data: str | None) -> bool:
    """Write the checkpoint that a graph of ours came from; False for any other graph.

    `model` is the library's, of the file `source`; `data` is the data file that the checkpoint
    names then, None: that of its training. Raises UsageError for an ensemble.
    """
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    if {"members", "disttrain_version"} <= set(metadata):
        raise UsageError(
            f"{source} is an ensemble of {metadata['members']} networks, a checkpoint holds one: "
            "export and import its members one by one"
        )
    if OURS not in metadata:
        return False
    try:
        facts = json.loads(metadata[OURS])
        save(out, snapshot_of(facts, _parameters(model.graph, facts), data))
        made = load_trained(out, Alone())
        again = onnx().load_from_string(onnx_model(made, facts["prepared"], facts["plain"]))
    except (*DAMAGED, DisttrainError):
        return False
    return bool(again.graph == model.graph)


def _parameters(graph: Any, facts: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the graph's constants that are the network's tensors, as the network has them."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for name, shape in facts["tensors"].items():
        array = onnx().numpy_helper.to_array(held[name])
        # Filters have (filters, channels, height, width) in the graph.
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        found[name] = array.reshape(shape).astype(facts["dtype"])
    return found
