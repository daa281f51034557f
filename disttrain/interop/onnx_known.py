"""What is known of an ONNX graph before any row is there: its constants, and sizes of its values.

PyTorch writes `x.view(x.size(0), -1)` as nodes that compute a list of sizes from the size of `x`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ROWS", "Known"]

# Stands for the number of rows in a list of sizes.
ROWS = -(1 << 30)
# Nodes that are computed where all that they take is known: of lists of sizes, and of any array,
# those that give as many numbers as they take.
OF_SIZES = ("Gather", "Slice", "Squeeze", "Unsqueeze", "Concat", "Mul")
OF_ANY = ("Constant", "Identity", "Cast", "Transpose", "Reshape")
OF_FLOATS = ("Add", "Sub", "Mul", "Div", "Sqrt", "Neg")
LONGEST = 64


class Known:
    """Constants by name: `arrays` are numpy's, `tensors` the library's."""

    def __init__(self, library: Any, model: Any) -> None:
        self._library, self._sets = library, [s for s in model.opset_import if not s.domain]
        self._whole = library.TensorProto.INT32, library.TensorProto.INT64
        self.tensors = list(model.graph.initializer)
        self.arrays = {t.name: library.numpy_helper.to_array(t) for t in self.tensors}
        self._sizes = _sizes_in(library, model)

    def take(self, made: Any) -> bool:
        """Add what a node computes, and tell whether it could be known."""
        array = self._size(made) if made.op_type == "Shape" else self._computed(made)
        if array is not None:
            self.arrays[made.output[0]] = array
            self.tensors.append(self._library.numpy_helper.from_array(array, made.output[0]))
        return array is not None

    def _size(self, made: Any) -> np.ndarray | None:
        options = {o.name: self._library.helper.get_attribute_value(o) for o in made.attribute}
        sizes = self._sizes.get(made.input[0], [None])
        sizes = sizes[options.get("start", 0) : options.get("end")]
        return None if None in sizes else np.array(sizes, np.int64)

    def _computed(self, made: Any) -> np.ndarray | None:
        given = {name: self.arrays.get(name) for name in made.input if name}
        arrays = [array for array in given.values() if array is not None]
        known = OF_SIZES + OF_ANY + OF_FLOATS
        if made.op_type not in known or made.domain or len(arrays) < len(given):
            return None
        floats = made.op_type in OF_FLOATS and _are_floats(arrays)
        if made.op_type not in OF_ANY and not floats and not all(map(_is_list, arrays)):
            return None
        helper, reference = self._library.helper, __import__("onnx.reference", fromlist=["x"])
        if any(array.dtype.kind == "i" and ROWS in array for array in arrays):
            # It must stay what it is: no factor, and no float, byte or text.
            to = [o.i for o in made.attribute if made.op_type == "Cast" and o.name == "to"]
            if made.op_type == "Mul" or set(to) - set(self._whole):
                return None
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(given, arrays, strict=True)
        ]
        end = helper.make_empty_tensor_value_info(made.output[0])
        graph = helper.make_graph([made], "known", inputs, [end])
        # Nodes of any program: whatever the evaluator can't do.
        try:
            model = helper.make_model(graph, opset_imports=self._sets)
            (found,) = reference.ReferenceEvaluator(model).run(None, given)
        except Exception:
            return None
        return np.asarray(found)


def _is_list(array: np.ndarray) -> bool:
    return array.dtype.kind == "i" and array.size <= LONGEST


def _are_floats(arrays: list[np.ndarray]) -> bool:
    """Tell whether arithmetic gives as many numbers as the largest of the arrays has."""
    try:
        size = np.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    except ValueError:
        return False
    return all(a.dtype.kind == "f" for a in arrays) and size == max(a.size for a in arrays)


def _sizes_in(library: Any, model: Any) -> dict[str, list[int | None]]:
    """Return the sizes of the values: `ROWS` of an unstated first axis, None of another one."""
    # Untrusted content may raise anything.
    try:
        graph = library.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:
        return {}
    return {
        value.name: [
            axis.dim_value if axis.HasField("dim_value") else None if n else ROWS
            for n, axis in enumerate(value.type.tensor_type.shape.dim)
        ]
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
