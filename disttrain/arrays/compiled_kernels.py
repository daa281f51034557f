"""The hot elementwise work on the processor in one pass over memory: `kernels.c` by ctypes.

`cpu_kernels` has the same functions in the same order, and gives the same bits. Raises ImportError
where no compiler was there when the package was installed; then `cpu_kernels` does the work.
"""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np

from disttrain.arrays import cpu_kernels

__all__ = [
    "activate",
    "activation_gradient",
    "adam",
    "average",
    "gather",
    "momentum",
    "square_sums",
]

Array = np.ndarray
NUMBERS = {"f": ("f4", ctypes.c_float), "d": ("f8", ctypes.c_double)}
FORMS = ("classical", "averaged", "nesterov")


def _load(path: str | None = None) -> dict[tuple[str, str], Any]:
    """Return the functions of the library by name and dtype character."""
    if path is None:
        found = importlib.util.find_spec("disttrain.arrays._kernels")
        if found is None or found.origin is None:
            raise ImportError("disttrain was installed without a C compiler")
        path = found.origin
    library = ctypes.CDLL(path)
    size, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    functions = {}
    for dtype, (suffix, number) in NUMBERS.items():
        shapes: dict[str, list[Any]] = {
            "activate_relu": [size] * 2 + [pointer] * 2,
            "gradient_relu": [size] * 2 + [pointer] * 3,
            "gather": [size] * 2 + [pointer] * 5,
            **{f"momentum_{form}": [size] + [pointer] * 3 + [number] * 4 for form in FORMS},
            "square_sums": [size] + [pointer] * 2,
            "adam": [size] + [pointer] * 4 + [number] * 10,
            "average": [size] + [pointer] * 2 + [number],
        }
        for name, arguments in shapes.items():
            function = library[f"{name}_{suffix}"]
            function.argtypes = arguments
            counts = name.startswith(("momentum", "adam"))
            function.restype = ctypes.c_uint64 if counts else None
            functions[name, dtype] = function
    return functions


_functions = _load()


def _fit(*arrays: Array) -> bool:
    """Return whether these are what the library reads: contiguous, of one of its dtypes.

    A layer or a loss that a user wrote may pass other arrays.
    """
    dtype = arrays[0].dtype
    return dtype.char in NUMBERS and all(a.dtype == dtype and a.flags.c_contiguous for a in arrays)


def _at(array: Array) -> Any:
    """Return where `array` begins; `array.ctypes.data` takes six times as long."""
    try:
        return ctypes.byref(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data


def activate(z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
    """Replace `z` (rows, units) by `f(z + bias)`, as `cpu_kernels.activate` does."""
    if activation == "relu" and _fit(z, bias):
        _functions["activate_relu", z.dtype.char](*z.shape, _at(z), _at(bias))
    else:
        cpu_kernels.activate(z, bias, activation, slope)


def activation_gradient(dy: Array, y: Array, activation: str, dbias: Array, scratch: Array) -> None:
    """Replace `dy` by `dy f'(a)`, where `y = f(a)`, and write its sum over rows to `dbias`."""
    if activation == "relu" and _fit(dy, y, dbias):
        _functions["gradient_relu", dy.dtype.char](*dy.shape, _at(dy), _at(y), _at(dbias))
    else:
        cpu_kernels.activation_gradient(dy, y, activation, dbias, scratch)


def gather(
    stored: Array, places: Array, scale: Array, shift: Array, raw: Array, out: Array
) -> None:
    """Write `stored[places] * scale + shift` to `out`; `raw` is scratch for the rows as stored."""
    # Slices of a user's arrays, and arrays in Fortran's order, do not lie in one run.
    whole = stored.flags.c_contiguous and places.flags.c_contiguous
    plain = whole and stored.dtype == np.uint8 and places.dtype == np.int64
    if not plain or not _fit(out, scale, shift):
        cpu_kernels.gather(stored, places, scale, shift, raw, out)
        return
    _functions["gather", out.dtype.char](
        *out.shape, _at(stored), _at(places), _at(scale), _at(shift),
        _at(out),
    )  # fmt: skip


def momentum(
    form: str, w: Array, v: Array, g: Array, inverse: float, rate: float, beta: float,
    decay: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w` and `v`, as `cpu_kernels.momentum` does."""
    if form == "averaged":
        rate = -rate * (1 - beta)
    bits: int = _functions[f"momentum_{form}", w.dtype.char](
        len(w), _at(w), _at(v), _at(g), inverse, rate, beta, decay
    )
    return bits


def adam(
    w: Array, m: Array, v: Array, g: Array, inverse: float, decay: float, keep: float,
    beta1: float, beta2: float, rate: float, root: float, epsilon: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w`, `m` and `v`, as `cpu_kernels.adam` does."""
    bits: int = _functions["adam", w.dtype.char](
        len(w), _at(w), _at(m), _at(v), _at(g), inverse, decay, keep,
        beta1, 1 - beta1, beta2, 1 - beta2, rate, root, epsilon,
    )  # fmt: skip
    return bits


def average(a: Array, w: Array, part: float) -> None:
    """Move flat `a` towards `w`, as `cpu_kernels.average` does."""
    _functions["average", w.dtype.char](len(w), _at(a), _at(w), part)


def square_sums(x: Array) -> Array:
    """Return the sum of squares of each block, as `cpu_kernels.square_sums` does."""
    sums = np.empty(-(-len(x) // cpu_kernels.CHUNK))
    _functions["square_sums", x.dtype.char](len(x), _at(x), _at(sums))
    return sums
