"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disttrain.interop.extras import needed

__all__ = ["OPSET", "Graph", "onnx"]

OPSET = 17
# Operators for texts: a set of operators of its own.
TABLES = "ai.onnx.ml"


def onnx() -> Any:
    """Return the library, or raise UsageError."""
    return needed("onnx", "onnx", "reading and writing ONNX")


class Graph:
    """Nodes and constants in order; every value is known by its name."""

    def __init__(self) -> None:
        self._onnx = onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, kind: str, *inputs: str, to: str = "", domain: str = "", **options: Any) -> str:
        """Add a node and return the name of its output, `to` where it is given."""
        name = to or f"{kind.lower()}{len(self._nodes)}"
        make = self._onnx.helper.make_node
        self._nodes.append(make(kind, list(inputs), [name], name, domain=domain, **options))
        return name

    def of_text(self, kind: str, *inputs: str, **options: Any) -> str:
        """Add a node of the operators for tables."""
        return self.add(kind, *inputs, domain=TABLES, **options)

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """Add a constant and return its name."""
        if not name or any(name == known.name for known in self._constants):
            name = f"{name or 'constant'}{len(self._constants)}"
        made = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants.append(made)
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """Add a conversion to a type of numpy's."""
        name = f"cast{len(self._nodes)}"
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._nodes.append(self._onnx.helper.make_node("Cast", [value], [name], name, to=kind))
        return name

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """State an input of the graph; `dtype` is one of numpy's, or str."""
        self._inputs.append(self._value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """State an output of the graph."""
        self._outputs.append(self._value(name, dtype, shape))

    def _value(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
        kinds = self._onnx.TensorProto
        kind = kinds.STRING if dtype is str else (
            self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        )  # fmt: skip
        return self._onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def model(self, name: str, facts: dict[str, str]) -> bytes:
        """Return the checked model as bytes, with `facts` as its metadata."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._constants
        )  # fmt: skip
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(TABLES, 3)]
        made = helper.make_model(graph, opset_imports=sets, producer_name="disttrain", ir_version=8)
        helper.set_model_props(made, facts)
        self._onnx.checker.check_model(made)
        content: bytes = made.SerializeToString()
        return content
