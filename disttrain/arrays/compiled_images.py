"""Convolution and pooling on the processor: `images.c` by ctypes, the build for this processor.

Raises ImportError where there is none; then `Images` does the work in numpy, to other bits.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays.images import Images
from disttrain.arrays.windows import Window

__all__ = ["Call", "CompiledImages"]

Array = np.ndarray[Any, Any]
NAMES = ("convolve", "convolve_gradient", "pool", "pool_gradient")
TYPES = {"f": "f4", "d": "f8"}


class Call(NamedTuple):
    """A function of images.c, the addresses that it is given, and the arrays behind these."""

    function: Any
    addresses: Array
    held: list[Array]

    @property
    def address(self) -> int:
        """Where the function is."""
        return ctypes.cast(self.function, ctypes.c_void_p).value or 0

    def __call__(self) -> None:
        """Call it."""
        self.function(self.addresses.ctypes.data)


def _load() -> dict[tuple[str, str], Any]:
    """Return the functions by name and dtype, of the build for the widest vectors there are."""
    plain = _library("_images")
    builds = {4: ("_images_v4", "_images_v3"), 3: ("_images_v3",)}.get(plain.image_level(), ())
    library = next(filter(None, (_found(name) for name in builds)), plain)
    functions = {}
    for char, suffix in TYPES.items():
        for name in NAMES:
            function = library[f"{name}_{suffix}"]
            function.argtypes, function.restype = [ctypes.c_void_p], None
            functions[name, char] = function
        room = library[f"image_room_{suffix}"]
        room.argtypes, room.restype = [ctypes.c_void_p], ctypes.c_int64
        functions["room", char] = room
    return functions


def _found(name: str) -> Any:
    try:
        return _library(name)
    except (ImportError, OSError):
        return None


def _library(name: str) -> Any:
    found = importlib.util.find_spec(f"disttrain.arrays.{name}")
    if found is None or found.origin is None:
        raise ImportError("disttrain was installed without a C compiler")
    return ctypes.CDLL(found.origin)


class CompiledImages(Images):
    """`Images` in C; what C does not read (other types, arrays in parts) is done in numpy."""

    def __init__(self) -> None:
        super().__init__(np)
        self._functions = _load()
        self._scratch: dict[tuple[bytes, str], Array] = {}

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, window: Window, relu: bool, out: Array
    ) -> None:
        """Do what `Images.convolve` does."""
        call = self.call("convolve", window, out.shape[-1], relu, x, weight, bias, out)
        self._do(call, super().convolve, x, weight, bias, window, relu, out)

    def convolve_gradient(
        self, x: Array, y: Array, dy: Array, weight: Array, window: Window, relu: bool,
        dweight: Array, dbias: Array | None, dx: Array | None,
    ) -> None:  # fmt: skip
        """Do what `Images.convolve_gradient` does; `dy` stays as it is."""
        given = (x, y, dy, weight, dweight, dbias, dx)
        call = self.call("convolve_gradient", window, dy.shape[-1], relu, *given)
        self._do(call, super().convolve_gradient, x, y, dy, weight, window, relu, *given[4:])

    def pool(self, x: Array, largest: bool, window: Window, out: Array) -> None:
        """Do what `Images.pool` does."""
        call = self.call("pool", window, out.shape[-1], largest, x, out)
        self._do(call, super().pool, x, largest, window, out)

    def pool_gradient(
        self, x: Array, y: Array, dy: Array, largest: bool, window: Window, dx: Array
    ) -> None:
        """Do what `Images.pool_gradient` does; `dy` stays as it is."""
        call = self.call("pool_gradient", window, dy.shape[-1], largest, x, y, dy, dx)
        self._do(call, super().pool_gradient, x, y, dy, largest, window, dx)

    def call(
        self, name: str, window: Window, filters: int, flag: bool, *arrays: Array | None
    ) -> Call | None:
        """Return the call of a function in C; None where it can't read these arrays."""
        first = arrays[0]
        assert first is not None
        char, there = first.dtype.char, [a for a in arrays if a is not None]
        if (name, char) not in self._functions or not all(
            a.dtype == first.dtype and a.flags.c_contiguous for a in there
        ):
            return None
        shape = np.array(
            [len(first), *window.image, *window.size, *window.stride, *window.before, *window.out,
             filters, flag], np.int64,
        )  # fmt: skip
        key = shape[1:-1].tobytes(), char
        if key not in self._scratch:
            room = self._functions["room", char](shape.ctypes.data)
            self._scratch[key] = np.empty(room, first.dtype)
        places = [0 if a is None else a.ctypes.data for a in arrays]
        scratch = self._scratch[key]
        addresses = np.array([shape.ctypes.data, *places, scratch.ctypes.data], np.uint64)
        return Call(self._functions[name, char], addresses, [shape, scratch, *there])

    @staticmethod
    def _do(call: Call | None, otherwise: Callable[..., None], *given: Any) -> None:
        if call:
            call()
        else:
            otherwise(*given)
