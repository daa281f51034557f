"""The restricted Boltzmann machine, which learns without targets by contrastive divergence."""

from __future__ import annotations

import math

from disttrain.arrays import Array, field
from disttrain.model.initializers import draws_for
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.passes import Backward, Context

__all__ = ["Rbm"]

# Random numbers have 16 bits.
LEVELS = 1 << 16


class Rbm(Layer):
    """Binary units `h` over inputs `v` in 0..1: `E(v, h) = -h·Wv - b·h - c·v`; trained by CD-1.

    A pass gives the reconstruction: `h = σ(W v + b)`, each unit on with that probability,
    `v' = σ(Wᵀ h_on + c)`; with `h' = σ(W v' + b)` the gradient that is descended is
    `dW = h' v'ᵀ - h vᵀ`, `db = h' - h`, `dc = v' - v`, summed over samples: an estimate of that of
    `-log p(v)`, whatever the loss (Hinton, Training products of experts by minimizing contrastive
    divergence, 2002; probabilities everywhere but for the reconstruction, as in his code of 2006).

    Which units are on is a function of the seed, the step, the layer and the row in the global
    batch: the same on any number of ranks. `W` has shape (units, inputs).
    """

    kind = "rbm"

    def __init__(self, units: int, initializer: str = "small-random", scale: float = 0.01) -> None:
        self.units, self.initializer, self.scale = units, initializer, scale

    def outputs(self, shape: Shape) -> Shape:
        """Return the number of inputs: what comes out is their reconstruction."""
        return (math.prod(shape),)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return `weight`, the `bias` of the units and the `visible` bias of the inputs."""
        inputs = math.prod(shape)
        draw = draws_for(self.initializer, "sigmoid", self.units, inputs, self.scale)
        return {
            "weight": Parameter((self.units, inputs), draw),
            "bias": Parameter((self.units,), decay=False),
            "visible": Parameter((inputs,), decay=False),
        }

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the reconstruction of `x`, and what writes the gradient of CD-1."""
        xp, activate, pass_ = ctx.device.xp, ctx.device.kernels.activate, ctx.pass_
        weight, bias = ctx.values["weight"], ctx.values["bias"]
        rows, inputs = len(x), weight.shape[1]
        # First the reconstruction's rows, then the data's: one product gives their difference.
        v = ctx.array("visible", (2 * rows, inputs))
        h = ctx.array("hidden", (2 * rows, self.units))
        v[rows:] = x.reshape(rows, inputs)
        xp.dot(v[rows:], weight.T, out=h[rows:])
        activate(h[rows:], bias, "sigmoid", None)
        on = ctx.array("on", (rows, self.units))
        if pass_.training:
            purpose = f"rbm {ctx.name}"
            drawn = field(rows, self.units, pass_.first_row, ctx.seed, purpose, pass_.step)
            chance = ctx.device.put((drawn + 0.5).astype(ctx.dtype))
            xp.less(chance, xp.multiply(h[rows:], LEVELS, out=on), out=on)
        else:
            on[...] = h[rows:]
        xp.dot(on, weight, out=v[:rows])
        activate(v[:rows], ctx.values["visible"], "sigmoid", None)

        def backward(dy: Array) -> None:
            xp.dot(v[:rows], weight.T, out=h[:rows])
            activate(h[:rows], bias, "sigmoid", None)
            for name, both in (("bias", h), ("visible", v)):
                xp.subtract(
                    both[:rows].sum(axis=0), both[rows:].sum(axis=0), out=ctx.gradients[name]
                )
            xp.negative(h[rows:], out=h[rows:])
            xp.dot(h.T, v, out=ctx.gradients["weight"])

        return v[:rows], backward
