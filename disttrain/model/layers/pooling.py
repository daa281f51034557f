"""Pooling: what a window of an image has most of, or its mean, channel by channel."""

from __future__ import annotations

from disttrain.arrays import Array
from disttrain.arrays.windows import Window
from disttrain.model.layer import Layer, Shape
from disttrain.model.layers.images import Sides, image_of, window_on
from disttrain.model.passes import Backward, Context

__all__ = ["AveragePool", "GlobalAveragePool", "MaxPool"]


class Pool(Layer):
    """What the kinds of pooling have in common: windows, and the largest number or the mean."""

    largest = False

    def window(self, shape: Shape) -> Window:
        """Return the windows on samples of `shape`."""
        raise NotImplementedError

    def outputs(self, shape: Shape) -> Shape:
        """Return (height, width, channels)."""
        return (*self.window(shape).out, image_of(shape)[2])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the pooled images and the backward function."""
        images, largest, shape = ctx.device.images, self.largest, x.shape[1:]
        window = self.window(shape)
        pixels = x.reshape(len(x), *window.image)
        y = ctx.array("output", (len(x), *window.out, window.image[2]))
        images.pool(pixels, largest, window, y)

        def backward(dy: Array) -> Array:
            dx = ctx.array("input gradient", pixels.shape)
            images.pool_gradient(pixels, y, dy.reshape(y.shape), largest, window, dx)
            return dx.reshape(x.shape)

        return y.reshape(len(x), *self.outputs(shape)), backward


class MaxPool(Pool):
    """`y[i,j,c] = max_rs x[i s₁+r, j s₂+s, c]` over windows of `size`, `stride` apart.

    `size` and `stride` are one number or (height, width); without `stride` windows lie side by
    side. Rows and columns that fill no window are left out. Of several largest numbers the first,
    row by row, gets the gradient, as in PyTorch.
    """

    kind = "max-pool"
    largest = True

    def __init__(self, size: Sides = 2, stride: Sides | None = None) -> None:
        self.size, self.stride = size, stride

    def window(self, shape: Shape) -> Window:
        """Return the windows that lie within the image."""
        return window_on(shape, self.size, self.stride or self.size, "valid", "windows")


class AveragePool(MaxPool):
    """`y[i,j,c] = mean_rs x[i s₁+r, j s₂+s, c]` over windows of `size`, `stride` apart."""

    kind = "average-pool"
    largest = False


class GlobalAveragePool(Pool):
    """`y[c] = mean_ij x[i,j,c]`: one number a channel (Lin et al., Network in network, 2014)."""

    kind = "global-average-pool"

    def window(self, shape: Shape) -> Window:
        """Return one window, the whole image."""
        height, width, _ = image_of(shape)
        return window_on(shape, (height, width), 1, "valid")

    def outputs(self, shape: Shape) -> Shape:
        """Return the number of channels, as a shape."""
        return (image_of(shape)[2],)
