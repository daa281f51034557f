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
NAMES = ("pack_filters", "convolve", "convolve_gradient", "pool", "pool_gradient")
ROOMS = ("image_room", "filters_room")
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
        for name in ROOMS:
            room = library[f"{name}_{suffix}"]
            room.argtypes, room.restype = [ctypes.c_void_p], ctypes.c_int64
            functions[name, char] = room
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
        self._scratch: dict[tuple[str, bytes, str], Array] = {}

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, window: Window, relu: bool, out: Array
    ) -> None:
        """Do what `Images.convolve` does."""
        packed = self._packed(weight, window, False)
        call = self.call("convolve", window, out.shape[-1], relu, x, packed, bias, out)
        self._do(call, super().convolve, x, weight, bias, window, relu, out)

    def convolve_gradient(
        self, x: Array, y: Array, dy: Array, weight: Array, window: Window, relu: bool,
        dweight: Array, dbias: Array | None, dx: Array | None,
    ) -> None:  # fmt: skip
        """Do what `Images.convolve_gradient` does; `dy` stays as it is."""
        turned = None if dx is None else self._packed(weight, window, True)
        given = (x, y, dy, turned, dweight, dbias, dx)
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
        shape = self._shape(window, filters, flag, len(first))
        scratch = self._room("image_room", shape, char)
        places = [0 if a is None else a.ctypes.data for a in arrays]
        addresses = np.array([shape.ctypes.data, *places, scratch.ctypes.data], np.uint64)
        return Call(self._functions[name, char], addresses, [shape, scratch, *there])

    def pack(self, weight: Array, window: Window, turned: bool, own: bool = True) -> Call | None:
        """Return the call that puts filters in the order in which C reads them.

        They come into the last array that the call holds, its `own` one: `turned` for
        "convolve_gradient", else for "convolve". None where C can't read them.
        """
        char, filters = weight.dtype.char, weight.shape[-1]
        if char not in TYPES:
            return None
        shape = self._shape(window, filters, turned, 0)
        packed = self._room("filters_room", shape, char)
        into = np.empty_like(packed) if own else packed
        return self.call("pack_filters", window, filters, turned, weight, into)

    def _packed(self, weight: Array, window: Window, turned: bool) -> Array:
        """Return packed filters; these themselves where C can't read them, and `call` says so."""
        call = self.pack(weight, window, turned, own=False)
        if call is None:
            return weight
        call()
        return call.held[-1]

    def _room(self, name: str, shape: Array, char: str) -> Array:
        """Return the scratch memory of a shape."""
        key = name, shape[1:-1].tobytes(), char
        if key not in self._scratch:
            room = self._functions[name, char](shape.ctypes.data)
            self._scratch[key] = np.empty(room, char)
        return self._scratch[key]

    @staticmethod
    def _shape(window: Window, filters: int, flag: bool, rows: int) -> Array:
        """Return the numbers of a `Shape` of images.c."""
        return np.array(
            [rows, *window.image, *window.size, *window.stride, *window.before, *window.out,
             filters, flag], np.int64,
        )  # fmt: skip

    @staticmethod
    def _do(call: Call | None, otherwise: Callable[..., None], *given: Any) -> None:
        if call:
            call()
        else:
            otherwise(*given)
