"""Recorded calls of kernels, which one call into C replays: `recording.c` by ctypes.

A `Program` is a flat array of calls with the addresses of what they work on; it holds those arrays.
Products are the calls that numpy's `dot` makes of the BLAS that numpy has loaded; exp, log and tanh
are the inner loops of numpy's own functions. So a replay gives the bits that numpy gives.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from disttrain.arrays.addresses import blas_function, compiled_form, loop_function, replay_functions
from disttrain.arrays.compiled_images import Call
from disttrain.arrays.cpu_kernels import SLOPED

__all__ = ["Block", "NotRecordable", "Program", "why_no_recordings"]

Array = np.ndarray[Any, Any]
CALL = np.dtype([("code", "i8"), ("p", "u8", 10), ("n", "i8", 8), ("x", "f8", 6)])
# In the order of recording.c.
CALLS = """
gather take_classes take_numbers product matrix_vector activate activation_gradient sum_rows softmax
softmax_gradient squared squared_gradient dropout multiply add copy zero tally_loss tally_right
end_header check momentum adam copy_matrix wait pause sum_messages sum_headers add_two function
layer_norm layer_norm_gradient batch_sums batch_moments batch_norm batch_norm_gradient averages
read_rows weighted_softmax weighted_softmax_gradient weigh_losses weigh_gradient perceptron
square_sums clip multiple dot take_scaled
"""
CODES = {name: code for code, name in enumerate(CALLS.split())}
ACTIVATIONS = ("identity", "relu", "sign", "tanh", "sigmoid", "leaky-relu", "elu", "gelu", "silu")
ROW_MAJOR, COLUMN_MAJOR, PLAIN, TRANSPOSED = 101, 102, 111, 112


class NotRecordable(Exception):
    """A step can't be recorded, and why: it runs eagerly."""


class Block(ctypes.Structure):
    """What changes from step to step, as recording.c reads it."""

    _fields_ = (
        *[(n, ctypes.c_void_p) for n in ("samples", "rows", "keys")],
        *[(n, ctypes.c_double) for n in ("divisor", "inverse", "rate", "unbias", "root", "stop")],
        ("checksum", ctypes.c_uint64),
    )


@functools.cache
def why_no_recordings(dtype: str) -> str:
    """Return why steps in `dtype` can't be recorded on this machine; "" where they can.

    What was found is tried: a product, exp, log and tanh must give numpy's bits.
    """
    kind = np.dtype(dtype).char
    if replay_functions() is None:
        return "disttrain was installed without a C compiler"
    if compiled_form() != (CALLS.split(), [CALL.itemsize, ctypes.sizeof(Block)]):
        return "disttrain's C code is of another version: install disttrain again"
    prefix = "s" if kind == "f" else "d"
    if not all(blas_function(prefix + name) for name in ("gemm", "gemv", "dot")):
        return "the BLAS of numpy was not found"
    if not all(loop_function(name, kind) for name in ("exp", "log", "tanh", "expm1")):
        return "numpy's functions were not found"
    draw = np.random.default_rng(0).random
    a, b, bias = draw((37, 23)).astype(dtype), draw((41, 23)).astype(dtype), np.zeros(41, dtype)
    out, f = np.empty((37, 41), dtype), np.empty((37, 41), dtype)
    sums, losses, classes = np.empty((2, 37), dtype), np.empty(37), np.arange(37)
    program = Program(dtype)
    program.product(a, b.T, out)
    program.activate(out, bias, "tanh")
    program.softmax(out, classes, f, sums, losses)
    program.replay(Block())
    want = np.tanh(np.dot(a, b.T))
    shifted = want - want.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    loss = np.log(exp.sum(axis=1)) - shifted[classes, classes]
    same = all(map(np.array_equal, (out, f, losses), (want, exp, loss.astype("f8"))))
    return "" if same else "the compiled code gave other bits than numpy"


class Program:
    """Calls in their order, made by the methods below, for arrays of one dtype; then `replay`.

    Each method notes a call, `note` any one. Arrays are contiguous and stay where they are.
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._calls: list[tuple[int, list[int], list[int], list[float]]] = []
        self._held: list[Array] = []
        self._array: Array | None = None
        self._run, self._prefix = replay_functions()[self._dtype.char], "sd"[self._dtype == "f8"]
        self.packed: dict[tuple[int, bool], Array] = {}
        self.empty = np.empty

    def note(
        self, name: str, arrays: tuple[Array | int, ...], sizes: tuple[int, ...] = (),
        numbers: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """Note call `name` of recording.c; an int among `arrays` is an address, 0 for none."""
        self._held += [array for array in arrays if isinstance(array, np.ndarray)]
        places = [a if isinstance(a, int) else a.ctypes.data for a in arrays]
        self._calls.append((CODES[name], places, list(sizes), list(numbers)))

    def replay(self, block: Block, at: int = 0, end: int | None = None) -> int:
        """Do calls `at..end-1`; return how many are done: all, or where it came back."""
        if self._array is None:
            self._array = np.zeros(len(self._calls), CALL)
            for row, (code, places, sizes, numbers) in zip(self._array, self._calls, strict=True):
                row["code"] = code
                row["p"][: len(places)] = places
                row["n"][: len(sizes)] = sizes
                row["x"][: len(numbers)] = numbers
            self._at = self._array.ctypes.data
        done: int = self._run(self._at, at, end or len(self._calls), ctypes.byref(block))
        return done

    @property
    def length(self) -> int:
        """The number of calls."""
        return len(self._calls)

    def product(self, a: Array, b: Array, out: Array, in_place: bool = False) -> Array:
        """`out = a @ b`, by `np.dot`'s call of BLAS; by `np.matmul`'s to read `a` `in_place`."""
        (rows, depth), columns = a.shape, b.shape[1]
        if rows == depth == 1 or depth == columns == 1:
            one, many = (a, b) if rows == depth == 1 else (b, a)
            stride = many.strides[len(many) == 1] // many.itemsize
            self.note("multiple", (one, many, out), (many.size, stride))
        elif rows == columns == 1:
            function, wide = blas_function(self._prefix + "dot") or (0, 0)
            strides = a.strides[1] // a.itemsize, b.strides[0] // b.itemsize
            self.note("dot", (function, a, b, out), (wide, depth, *strides))
        elif depth > 1 and columns == 1:
            self._matrix_vector(a, b[:, 0], out, PLAIN)
        elif depth > 1 and rows == 1:
            self._matrix_vector(b, a[0], out, TRANSPOSED)
        else:
            (a, turned_a, lda), (b, turned_b, ldb) = self._laid_out(a, in_place), self._laid_out(b)
            function, wide = blas_function(self._prefix + "gemm") or (0, 0)
            turned = turned_a | turned_b << 8
            self.note("product", (function, a, b, out),
                       (wide, turned, rows, columns, depth, lda, ldb))  # fmt: skip
        return out

    def _matrix_vector(self, matrix: Array, vector: Array, out: Array, turned: int) -> None:
        matrix = self._whole(matrix)
        rows, columns = matrix.shape
        order, lda = (ROW_MAJOR, columns) if matrix.flags.c_contiguous else (COLUMN_MAJOR, rows)
        function, wide = blas_function(self._prefix + "gemv") or (0, 0)
        sizes = (wide, order, turned, *matrix.shape, lda, vector.strides[0] // matrix.itemsize)
        self.note("matrix_vector", (function, matrix, vector, out), sizes)

    def _laid_out(self, matrix: Array, in_place: bool = False) -> tuple[Array, int, int]:
        """Return a matrix, whether it lies transposed in memory, and the length of its lines."""
        if in_place:
            return matrix, TRANSPOSED, matrix.strides[1] // matrix.itemsize
        matrix = self._whole(matrix)
        if matrix.flags.f_contiguous:
            return matrix, TRANSPOSED, matrix.shape[0]
        return matrix, PLAIN, matrix.shape[1]

    def _whole(self, matrix: Array) -> Array:
        """Return a matrix in one run: of a part of one, note a copy, as `dot` makes it."""
        if matrix.flags.c_contiguous or matrix.flags.f_contiguous:
            return matrix
        copy = np.empty(matrix.shape, self._dtype)
        apart = [stride // self._dtype.itemsize for stride in matrix.strides]
        self.note("copy_matrix", (copy, matrix), (*matrix.shape, *apart))
        return copy

    def activate(self, z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
        """`z = f(a)`, `a = z + bias`; of gelu and silu `slope = f'(a)`, where it is given."""
        loops = (loop_function(name, self._dtype.char) for name in ("tanh", "expm1"))
        scratch = np.empty(z.size if activation in ("elu", *SLOPED) else 0, z.dtype)
        arrays = (z, bias, *loops, scratch, 0 if slope is None else slope)
        self.note("activate", arrays, (*z.shape, ACTIVATIONS.index(activation)))

    def activation_gradient(self, dy: Array, y: Array, activation: str, dbias: Array) -> None:
        """`dy = dy f'(a)` where `y = f(a)`, or the slope; `dbias` is its sum over rows."""
        sizes = (*y.shape, ACTIVATIONS.index(activation))
        self.note("activation_gradient", (dy, y, dbias), sizes)

    def sum_rows(self, x: Array, out: Array) -> None:
        """`out = x.sum(axis=0)`."""
        self.note("sum_rows", (x, out), x.shape)

    def softmax(self, o: Array, classes: Array, f: Array, sums: Array, losses: Array) -> None:
        """`f = exp(o - max o)`, `sums[0]` its sums, `losses = -log` of the chosen share (float64).

        `sums` has two rows of one number a sample.
        """
        loops = (loop_function(name, self._dtype.char) for name in ("exp", "log"))
        self.note("softmax", (o, classes, f, sums, losses, *loops), o.shape)

    def softmax_gradient(self, f: Array, classes: Array, sums: Array) -> None:
        """`f = f / sums[0] - onehot(classes)`."""
        self.note("softmax_gradient", (f, classes, sums), f.shape)

    def squared(
        self, o: Array, targets: Array, difference: Array, losses: Array, units: Array | None
    ) -> None:
        """`difference = o - targets` (or their one-hot vectors), `losses` its squares' sums.

        With `units` (float64) the squares of each output are multiplied by its number.
        """
        sizes = (*o.shape, int(targets.dtype.kind in "iu"))
        factors = 0 if units is None else np.ascontiguousarray(units, "f8")
        arrays = (o, targets, difference, losses, np.empty(o.shape[1]), factors)
        self.note("squared", arrays, sizes)

    def squared_gradient(self, difference: Array) -> None:
        """`difference = 2 difference`."""
        self.note("squared_gradient", (difference,), (difference.size,))

    def dropout(
        self, x: Array, mask: Array, y: Array, first: int, limit: int, key: int, factor: float
    ) -> None:
        """Draw `mask` for rows from `first` on, with key number `key`; `y = x mask`."""
        self.note("dropout", (x, mask, y), (len(x), x[:1].size, first, limit, key), (factor,))

    def multiply(self, x: Array, y: Array) -> None:
        """`x = x y`."""
        self.note("multiply", (x, y), (x.size,))

    def add(self, x: Array, y: Array) -> None:
        """`x = x + y`."""
        self.note("add", (x, y), (x.size,))

    def copy(self, out: Array, x: Array) -> None:
        """`out = x`."""
        self.note("copy", (out, x), (x.nbytes,))

    def zero(self, x: Array) -> None:
        """`x = 0`."""
        self.note("zero", (x,), (x.nbytes,))

    def tally_loss(self, header: Array, place: int, losses: Array) -> None:
        """`header[place] += losses.sum()`."""
        self.note("tally_loss", (header, losses), (place, len(losses)))

    def tally_right(self, o: Array, classes: Array | None, header: Array, place: int) -> None:
        """Add to `header[place]` how many rows are right, and behind it their number."""
        self.note("tally_right", (o, 0 if classes is None else classes, header), (*o.shape, place))

    def end_header(self, header: Array, place: int) -> None:
        """Write the block's `stop` to `header[place]`."""
        self.note("end_header", (header,), (place,))

    def check(self, header: Array, losses: int) -> None:
        """End the replay where the sum of these losses is not finite, or a rank has failed."""
        self.note("check", (header,), (losses,))

    def wait(self, function: int, state: int) -> int:
        """Wait by `function(state)`; where it returns 0 the replay ends here. Return the number."""
        self.note("wait", (function, state))
        return len(self._calls) - 1

    def pause(self) -> int:
        """End the replay here, for what Python does. Return the number of this call."""
        self.note("pause", ())
        return len(self._calls) - 1

    def sum_messages(self, total: Array, messages: Array, low: int, high: int) -> None:
        """`total[low:high] = messages[:, low:high].sum(axis=0)`, added in their order."""
        apart = messages.strides[0] // self._dtype.itemsize
        self.note("sum_messages", (total, messages), (low, high, len(messages), apart))

    def sum_headers(self, headers: Array, total: Array) -> None:
        """`total = headers.sum(axis=0)` (float64)."""
        self.note("sum_headers", (headers, total), headers.shape)

    def add_two(self, out: Array, a: Array, b: Array) -> None:
        """`out = a + b`."""
        self.note("add_two", (out, a, b), (out.size,))

    def function(self, call: Call) -> None:
        """Call a function of images.c."""
        self._held += call.held
        self.note("function", (call.address, call.addresses))

    def momentum(
        self, form: str, vectors: Sequence[Array], beta: float, decay: float, factor: float
    ) -> None:
        """One update of `w, v, g` as `kernels.momentum` does it, `factor` times the rate."""
        sizes = (len(vectors[0]), ("classical", "averaged", "nesterov").index(form))
        self.note("momentum", tuple(vectors), sizes, (beta, decay, factor))

    def adam(self, vectors: Sequence[Array], decoupled: bool, numbers: tuple[float, ...]) -> None:
        """One update of `w, m, v, g` as `kernels.adam` does it.

        `numbers` are the decay, β₁, β₂, ε, and what the block's rate is multiplied by.
        """
        self.note("adam", tuple(vectors), (len(vectors[0]), decoupled), numbers)
