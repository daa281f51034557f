"""Where the C functions are that a recording calls: its own, those of the BLAS, numpy's loops."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from typing import Any

import numpy as np

from disttrain.arrays.blas import loaded

__all__ = ["blas_function", "compiled_form", "loop_function", "replay_functions"]

# Whether the numbers of a BLAS function have 64 bits, by what its name ends with.
NAMES = {
    "scipy_cblas_{}64_": 1, "cblas_{}64_": 1, "cblas_{}_64": 1, "scipy_cblas_{}": 0, "cblas_{}": 0,
}  # fmt: skip


class _Ufunc(ctypes.Structure):
    """The head of numpy's `PyUFuncObject`."""

    _fields_ = (
        ("object", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    )


@functools.cache
def replay_functions() -> Any:
    """Return the functions of recording.c by the character of their dtype, or None."""
    found = importlib.util.find_spec("disttrain.arrays._kernels")
    if found is None or found.origin is None:
        return None
    library = ctypes.CDLL(found.origin)
    if not hasattr(library, "replay_f4"):
        return None
    functions = {"f": library.replay_f4, "d": library.replay_f8}
    for function in functions.values():
        function.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        function.restype = ctypes.c_int64
    return functions


def compiled_form() -> tuple[list[str], list[int]]:
    """Return the names of the calls that recording.c was built with, and the sizes of its structs.

    An installation that is edited in place keeps its C code until it is installed again.
    """
    found = importlib.util.find_spec("disttrain.arrays._kernels")
    library = ctypes.CDLL(found.origin if found else None)
    try:
        names = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "recording_names")))
        sizes = (ctypes.c_int64 * 2).in_dll(library, "recording_sizes")
    except ValueError:  # older than these
        return [], []
    return names.decode().lower().split(), list(sizes)


@functools.cache
def blas_function(name: str) -> tuple[int, int] | None:
    """Return the address of a BLAS function of numpy's and whether its numbers have 64 bits."""
    for found in loaded():
        library = ctypes.CDLL(found["filepath"])
        for form, wide in NAMES.items():
            function = getattr(library, form.format(name), None)
            if function is not None:
                return ctypes.cast(function, ctypes.c_void_p).value or 0, wide
    return None


@functools.cache
def loop_function(name: str, dtype: str) -> int:
    """Return the address of a ufunc's loop for one dtype character; 0 where it is not as it was."""
    ufunc = getattr(np, name)
    head = _Ufunc.from_address(id(ufunc))
    if (head.nin, head.nout, head.ntypes) != (ufunc.nin, ufunc.nout, ufunc.ntypes):
        return 0
    number = ufunc.types.index(f"{dtype}->{dtype}")
    return 0 if head.data[number] else head.functions[number] or 0
