"""Convolution and pooling of images in numpy or cupy: rows are samples, channels come last.

A few samples at a time, so that the copies of their windows stay small. `compiled_images` has the
same work in C.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from disttrain.arrays.windows import Window

__all__ = ["Images"]

Array = Any
# Samples that are computed together: a fixed number, whatever the batch.
BLOCK = 16


class Images:
    """The functions, for arrays of the module `xp`.

    `x` has shape (rows, height, width, channels), `weight` (height, width, channels, filters),
    outputs (rows, *window.out, filters).
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp

    def call(
        self, name: str, window: Window, filters: int, flag: bool, *arrays: Array | None
    ) -> Any:
        """Return the call of a function in C; here there is none."""
        return None

    def pack(self, weight: Array, window: Window, turned: bool) -> Any:
        """Return the call that lays filters out for C; here there is none."""
        return None

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, window: Window, relu: bool, out: Array
    ) -> None:
        """`out[n,i,j,k] = Σ x[n, window(i,j)[r,s], c] weight[r,s,c,k] + bias[k]`, then ReLU.

        A cross-correlation, as everywhere in the field. Without `bias` nothing is added.
        """
        flat = weight.reshape(-1, weight.shape[-1])
        for low in range(0, len(x), BLOCK):
            part = out[low : low + BLOCK]
            columns = self._columns(x[low : low + BLOCK], window)
            part[...] = (columns @ flat).reshape(part.shape)
        if bias is not None:
            self.xp.add(out, bias, out=out)
        if relu:
            self.xp.maximum(out, 0, out=out)

    def convolve_gradient(
        self, x: Array, y: Array, dy: Array, weight: Array, window: Window, relu: bool,
        dweight: Array, dbias: Array | None, dx: Array | None,
    ) -> None:  # fmt: skip
        """Write the gradients of `convolve`, sums over samples; `dy` is overwritten.

        With `relu`, `dy` first becomes 0 where the output `y` is not above 0.
        """
        if relu:
            self.xp.multiply(dy, y > 0, out=dy)
        if dbias is not None:
            dbias[...] = dy.reshape(-1, dy.shape[-1]).sum(axis=0)
        flat = weight.reshape(-1, weight.shape[-1])
        dflat = dweight.reshape(flat.shape)
        dflat[...] = 0
        for low in range(0, len(x), BLOCK):
            part = slice(low, low + BLOCK)
            rows = dy[part].reshape(-1, dy.shape[-1])
            dflat += self._columns(x[part], window).T @ rows
            if dx is not None:
                self._spread(rows @ flat.T, window, dx[part])

    def pool(self, x: Array, largest: bool, window: Window, out: Array) -> None:
        """Write the largest number of each window and channel to `out`, or the mean of them."""
        views = self._views(x, window)
        out[...] = next(views)
        for view in views:
            (self.xp.maximum if largest else self.xp.add)(out, view, out=out)
        if not largest:
            self.xp.multiply(out, 1 / (window.size[0] * window.size[1]), out=out)

    def pool_gradient(
        self, x: Array, y: Array, dy: Array, largest: bool, window: Window, dx: Array
    ) -> None:
        """Write the gradient of `pool`; of several largest numbers, the first one gets it."""
        dx[...] = 0
        if not largest:
            self.xp.multiply(dy, 1 / (window.size[0] * window.size[1]), out=dy)
        for view, into in zip(self._views(x, window), self._views(dx, window), strict=True):
            if largest:
                here = view == y
                into += dy * here
                # What is left for the pixels that follow.
                self.xp.multiply(dy, ~here, out=dy)
            else:
                into += dy

    def _views(self, padded: Array, window: Window) -> Any:
        """Yield pixel (0, 0) of all windows, pixel (0, 1), ..., each (rows, *out, channels)."""
        (sh, sw), (oh, ow) = window.stride, window.out
        for r in range(window.size[0]):
            for s in range(window.size[1]):
                yield padded[:, r : r + (oh - 1) * sh + 1 : sh, s : s + (ow - 1) * sw + 1 : sw]

    def _columns(self, x: Array, window: Window) -> Array:
        """Return each window as a row of numbers: (rows * windows, size * channels)."""
        (height, width, channels), (top, left) = window.image, window.before
        high, wide = window.covered
        padded = self.xp.zeros((len(x), max(high, top + height), max(wide, left + width), channels),
                               x.dtype)  # fmt: skip
        padded[:, top : top + height, left : left + width] = x
        columns = self.xp.stack(list(self._views(padded, window)), axis=3)
        return columns.reshape(-1, window.size[0] * window.size[1] * channels)

    def _spread(self, dcolumns: Array, window: Window, dx: Array) -> None:
        """Add the gradients of all windows to the pixels that they come from."""
        (height, width, channels), (top, left) = window.image, window.before
        high, wide = window.covered
        padded = self.xp.zeros((len(dx), max(high, top + height), max(wide, left + width),
                                channels), dx.dtype)  # fmt: skip
        parts = dcolumns.reshape(len(dx), *window.out, -1, channels)
        for number, view in enumerate(self._views(padded, window)):
            view += parts[:, :, :, number]
        dx[...] = padded[:, top : top + height, left : left + width]
