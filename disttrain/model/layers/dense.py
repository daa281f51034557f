"""The dense layer: a linear map, a bias and an activation as one unit."""

from __future__ import annotations

import math

from disttrain.arrays import Array
from disttrain.arrays.cpu_kernels import SLOPED
from disttrain.model.initializers import draws_for
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.passes import Backward, Context

__all__ = ["Dense"]


class Dense(Layer):
    """`a = x Wᵀ + b`, `h = f(a)` with `W` of shape (units, inputs), `b` of shape (units,).

    Backward: `δ = dL/dh f'(a)`, `dL/dW = δᵀ x`, `dL/db = Σ δ` over samples, `dL/dx = δ W`.
    A sample of more than one axis is taken as the vector of its numbers, the last axis first.
    `activation` is "identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu" or
    "sign" (formulas: `arrays/cpu_kernels.py`). `initializer` names how weights begin, with `scale`
    for "small-random" and "constant"; `bias` is what all biases begin with. A
    `frozen` layer keeps its weights; `rate` is what the learning rate is multiplied by here.
    """

    kind = "dense"
    rowwise = True

    def __init__(
        self,
        units: int,
        activation: str = "identity",
        initializer: str = "auto",
        scale: float = 0.01,
        bias: float = 0.0,
        frozen: bool = False,
        rate: float = 1.0,
    ) -> None:
        self.units, self.activation = units, activation
        self.initializer, self.scale, self.bias = initializer, scale, bias
        self.frozen, self.rate = frozen, rate

    def outputs(self, shape: Shape) -> Shape:
        """Return the number of units, as a shape."""
        return (self.units,)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return `weight` and `bias`; weight decay leaves the bias out."""
        inputs = math.prod(shape)
        draw = draws_for(self.initializer, self.activation, self.units, inputs, self.scale)
        return {
            "weight": Parameter((self.units, inputs), draw),
            "bias": Parameter((self.units,), self.bias, decay=False),
        }

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return `f(x Wᵀ + b)` and its backward function."""
        kernels, weight, bias = ctx.device.kernels, ctx.values["weight"], ctx.values["bias"]
        rows = x if x.ndim == 2 else x.reshape(len(x), weight.shape[1])
        h = ctx.product(rows, weight.T, ctx.array("output", (len(x), self.units)))
        # What the derivative is found from: the output, or the slope, which then is kept.
        kept = h
        if self.activation in SLOPED and ctx.pass_.training:
            kept = ctx.array("slope", h.shape)
        kernels.activate(h, bias, self.activation, None if kept is h else kept)

        def backward(dh: Array) -> Array | None:
            scratch = ctx.array("scratch", h.shape)
            kernels.activation_gradient(dh, kept, self.activation, ctx.gradients["bias"], scratch)
            ctx.outer(dh, rows)
            if not ctx.needs_input_gradient:
                return None
            dx = ctx.product(dh, weight, ctx.array("input gradient", rows.shape))
            return dx if x.ndim == 2 else dx.reshape(x.shape)

        return h, backward
