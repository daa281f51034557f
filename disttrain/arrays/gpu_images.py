"""Convolution and pooling on a GPU: `cuda/images.cu`, in the order in which the processor computes.

Shapes for which the processor takes Winograd's way (3 x 3, at least 16 channels) go the direct way
here: there the bits differ.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cupy
import numpy as np

from disttrain.arrays.gpu_launch import Launch, launch, run
from disttrain.arrays.images import Images
from disttrain.arrays.windows import Window

__all__ = ["GpuImages"]

Array = Any
# As in cuda/images.cu.
PIXELS = FILTERS = TAPS = 4
# Sums under way at once, at least, where there are samples enough: few weights are summed in
# several spans of samples. The same number for every GPU, so that all give the same bits.
SUMS = 1 << 18


class Calls(NamedTuple):
    """Launches, for a program, and arrays as `compiled_images.Call` holds them."""

    launches: list[Launch]
    held: list[Array]


class GpuImages(Images):
    """`Images` by kernels; what these do not read (other types, arrays in parts) goes by cupy."""

    def __init__(self) -> None:
        super().__init__(cupy)
        self._scratch: dict[tuple[str, tuple[int, ...], str], Array] = {}

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, window: Window, relu: bool, out: Array
    ) -> None:
        """Do what `Images.convolve` does."""
        if readable(x, weight, bias, out):
            run(self.convolving(x, weight, bias, window, relu, out))
        else:
            super().convolve(x, weight, bias, window, relu, out)

    def convolve_gradient(
        self, x: Array, y: Array, dy: Array, weight: Array, window: Window, relu: bool,
        dweight: Array, dbias: Array | None, dx: Array | None,
    ) -> None:  # fmt: skip
        """Do what `Images.convolve_gradient` does."""
        given = (x, y, dy, weight, window, relu, dweight, dbias, dx)
        if readable(x, y, dy, weight, dweight, dbias, dx):
            run(self.gradients(*given))
        else:
            super().convolve_gradient(*given)

    def pool(self, x: Array, largest: bool, window: Window, out: Array) -> None:
        """Do what `Images.pool` does."""
        if readable(x, out):
            run(self.pooling(x, largest, window, out))
        else:
            super().pool(x, largest, window, out)

    def pool_gradient(
        self, x: Array, y: Array, dy: Array, largest: bool, window: Window, dx: Array
    ) -> None:
        """Do what `Images.pool_gradient` does; `dy` stays as it is."""
        if readable(x, y, dy, dx):
            run(self.pooling_back(x, y, dy, largest, window, dx))
        else:
            super().pool_gradient(x, y, dy, largest, window, dx)

    def pack(self, weight: Array, window: Window, turned: bool) -> Any:
        """Return a call that does nothing and holds the filters: they are read as they lie."""
        return Calls([], [weight])

    def call(
        self, name: str, window: Window, filters: int, flag: bool, *arrays: Array | None
    ) -> Any:
        """Return the launches of a function that `compiled_images` has too; None: unreadable."""
        if not readable(*arrays):
            return None
        given: Any = arrays
        if name == "convolve":
            x, weight, bias, out = given
            return Calls(self.convolving(x, weight, bias, window, flag, out), [])
        if name == "convolve_gradient":
            x, y, dy, weight, dweight, dbias, dx = given
            launches = self.gradients(x, y, dy, weight, window, flag, dweight, dbias, dx)
            return Calls(launches, [])
        if name == "pool":
            x, out = given
            return Calls(self.pooling(x, flag, window, out), [])
        x, y, dy, dx = given
        return Calls(self.pooling_back(x, y, dy, flag, window, dx), [])

    def convolving(
        self, x: Array, weight: Array, bias: Array | None, window: Window, relu: bool, out: Array
    ) -> list[Launch]:
        """Return the launches of `convolve`."""
        return [slide(x, window.image, window.size, window.stride, (1, 1), window.before, weight,
                      bias, relu, False, out)]  # fmt: skip

    def gradients(
        self, x: Array, y: Array, dy: Array, weight: Array | None, window: Window, relu: bool,
        dweight: Array, dbias: Array | None, dx: Array | None,
    ) -> list[Launch]:  # fmt: skip
        """Return the launches of `convolve_gradient`; `weight` is for `dx`."""
        made = [launch("mask", dy.dtype, dy.size, y, dy)] if relu else []
        made += self._weights(x, dy, window, dweight)
        filters, channels = dweight.shape[-1], dweight.shape[-2]
        if dbias is not None:
            sums = self._room("bias", (len(x), filters), x.dtype)
            pixels = math.prod(window.out)
            made.append(launch("add_pixels", x.dtype, sums.size, dy, pixels, filters, sums))
            made.append(add_parts(len(x), sums, dbias))
        if dx is not None:
            (kh, kw), (top, left) = window.size, window.before
            turned = self._room("turned", (kh * kw, filters, channels), x.dtype)
            made.append(launch("turn", x.dtype, turned.size, weight, kh * kw, channels, filters,
                               turned))  # fmt: skip
            # As images.c: with strides, rows without pixels are multiplied like all others.
            made.append(slide(dy, (*window.out, filters), window.size, (1, 1), window.stride,
                              (kh - 1 - top, kw - 1 - left), turned, None, False,
                              window.stride[0] == 1, dx))  # fmt: skip
        return made

    def _weights(self, x: Array, dy: Array, window: Window, dweight: Array) -> list[Launch]:
        """Return the launches for the gradient of the weights."""
        rows, filters = len(x), dy.shape[-1]
        (kh, kw), channels = window.size, window.image[2]
        span = span_of(rows, dweight.size)
        spans = max(1, -(-rows // span))
        sums = dweight
        if spans > 1:
            sums = self._room("weights", (spans, dweight.size), x.dtype)
        threads = spans * kh * -(-kw * channels // TAPS) * filters
        made = [launch("collect", x.dtype, threads, rows, span, x, *window.image, *window.size,
                       *window.stride, *window.before, dy, *window.out, filters, sums)]  # fmt: skip
        return made if spans == 1 else [*made, add_parts(spans, sums, dweight)]

    def pooling(self, x: Array, largest: bool, window: Window, out: Array) -> list[Launch]:
        """Return the launches of `pool`."""
        return [launch("pool", x.dtype, out.size, x, *window.image, *window.size, *window.stride,
                       *window.out, largest, out)]  # fmt: skip

    def pooling_back(
        self, x: Array, y: Array, dy: Array, largest: bool, window: Window, dx: Array
    ) -> list[Launch]:
        """Return the launches of `pool_gradient`."""
        return [launch("pool_gradient", x.dtype, dx.size, x, *window.image, *window.size,
                       *window.stride, *window.out, largest, y, dy, dx)]  # fmt: skip

    def _room(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return scratch memory: the same for all layers of this shape, which take turns."""
        key = name, shape, np.dtype(dtype).char
        if key not in self._scratch:
            self._scratch[key] = cupy.empty(shape, dtype)
        return self._scratch[key]


def span_of(rows: int, weights: int) -> int:
    """Return how many samples the gradient of so many weights sums in one chain."""
    spans = max(1, min(rows, -(-SUMS // max(weights, 1))))
    return max(1, -(-rows // spans))


def readable(*arrays: Array | None) -> bool:
    """Return whether the kernels can read these arrays."""
    there = [array for array in arrays if array is not None]
    first = there[0].dtype
    return first.char in "fd" and all(a.dtype == first and a.flags.c_contiguous for a in there)


def add_parts(parts: int, sums: Array, out: Array) -> Launch:
    """Return the launch that adds `parts` flat vectors, in their order."""
    return launch("add_parts", out.dtype, out.size, parts, sums, out)


def slide(
    x: Array, image: tuple[int, ...], size: tuple[int, int], stride: tuple[int, int],
    up: tuple[int, int], before: tuple[int, int], weight: Array, bias: Array | None, relu: bool,
    skip: bool, out: Array,
) -> Launch:  # fmt: skip
    """Return the launch of `slide`, which stands in cuda/images.cu."""
    rows, high, wide, filters = out.shape
    threads = rows * high * -(-wide // PIXELS) * -(-filters // FILTERS)
    return launch("slide", x.dtype, threads, x, *image, *size, *stride, *up, *before, weight, bias,
                  relu, skip, out, high, wide, filters)  # fmt: skip
