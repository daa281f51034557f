"""The convolutional layer: the same filters at every place of an image."""

from __future__ import annotations

import math

from disttrain.arrays import Array
from disttrain.arrays.cpu_kernels import SLOPED
from disttrain.arrays.windows import Window
from disttrain.model.initializers import draws_for
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.layers.images import Sides, window_on
from disttrain.model.passes import Backward, Context

__all__ = ["Conv"]


class Conv(Layer):
    """`a[i,j,k] = Σ_rsc x[i s₁+r, j s₂+s, c] W[r,s,c,k] + b[k]`, `h = f(a)` (LeCun et al., 1989).

    `W` has shape (height, width, channels, filters), `s` is the `stride`, pixels outside of the
    image are 0. `padding` is "same" (`ceil(side / stride)` outputs along a side), "valid" (filters
    stay inside) or a number of zeros at each border; where "same" needs an odd number of zeros the
    one more stands below and on the right. `size` is one number or (height, width). Samples are
    (height, width, channels), (height, width) for one channel, or (length,). `activation`,
    `initializer`, `scale`, `frozen` and `rate` are those of `Dense`; the fan-in is
    `height width channels`, the fan-out `height width filters`.
    """

    kind = "conv"

    def __init__(
        self,
        filters: int,
        size: Sides = 3,
        stride: Sides = 1,
        padding: str | int = "same",
        activation: str = "identity",
        bias: bool = True,
        initializer: str = "auto",
        scale: float = 0.01,
        frozen: bool = False,
        rate: float = 1.0,
    ) -> None:
        self.filters, self.size, self.stride, self.padding = filters, size, stride, padding
        self.activation, self.bias = activation, bias
        self.initializer, self.scale = initializer, scale
        self.frozen, self.rate = frozen, rate

    def window(self, shape: Shape) -> Window:
        """Return where the filters stand on samples of `shape`."""
        return window_on(shape, self.size, self.stride, self.padding)

    def outputs(self, shape: Shape) -> Shape:
        """Return (height, width, filters)."""
        return (*self.window(shape).out, self.filters)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return `weight` and, where there is one, `bias`; weight decay leaves the bias out."""
        window = self.window(shape)
        size, channels = window.size, window.image[2]
        area = math.prod(size)
        draw = draws_for(
            self.initializer, self.activation, area * self.filters, area * channels, self.scale,
            (*size, channels, self.filters),
        )  # fmt: skip
        parameters = {"weight": Parameter((*size, channels, self.filters), draw)}
        if self.bias:
            parameters["bias"] = Parameter((self.filters,), decay=False)
        return parameters

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return `f(W * x + b)` and its backward function."""
        images, kernels = ctx.device.images, ctx.device.kernels
        weight, bias = ctx.values["weight"], ctx.values.get("bias")
        window = self.window(x.shape[1:])
        pixels = x.reshape(len(x), *window.image)
        h = ctx.array("output", (len(x), *window.out, self.filters))
        rows = (-1, self.filters)
        # Other activations than these are applied afterwards.
        plain, relu = self.activation in ("identity", "relu"), self.activation == "relu"
        images.convolve(pixels, weight, bias if plain else None, window, relu, h)
        kept = h
        if not plain:
            if self.activation in SLOPED and ctx.pass_.training:
                kept = ctx.array("slope", h.shape)
            slope = None if kept is h else kept.reshape(rows)
            own = ctx.device.xp.zeros(self.filters, h.dtype) if bias is None else bias
            kernels.activate(h.reshape(rows), own, self.activation, slope)

        def backward(dh: Array) -> Array | None:
            dbias = ctx.gradients.get("bias")
            if not plain:
                into = ctx.array("bias gradient", (self.filters,)) if dbias is None else dbias
                kernels.activation_gradient(
                    dh.reshape(rows), kept.reshape(rows), self.activation, into,
                    ctx.array("scratch", h.shape).reshape(rows),
                )  # fmt: skip
                dbias = None
            dx = ctx.array("input gradient", pixels.shape) if ctx.needs_input_gradient else None
            images.convolve_gradient(
                pixels, h, dh, weight, window, relu, ctx.gradients["weight"], dbias, dx
            )
            return None if dx is None else dx.reshape(x.shape)

        return h, backward
