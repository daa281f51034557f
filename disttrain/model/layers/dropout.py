"""Dropout: training leaves out a random part of a layer's outputs, another one for each sample."""

from __future__ import annotations

import math

from disttrain.arrays import Array, field
from disttrain.model.layer import Layer
from disttrain.model.passes import Backward, Context

__all__ = ["Dropout"]

# A unit is dropped where its random 16-bit number is below `rate` of these.
LEVELS = 1 << 16


class Dropout(Layer):
    """`y = x m / (1 - p)`, `m` is 0 with probability `p` and else 1; at prediction `y = x`.

    Without `rescale` it is `y = x m`, the masking noise of denoising autoencoders.

    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014, with
    the factor at training instead of prediction. `m` is a function of the seed, the step, the
    layer and the row in the global batch: the same on any number of ranks. `p` is rounded to the
    nearest 1/65536.
    """

    kind = "dropout"
    rowwise = True

    def __init__(self, rate: float, rescale: bool = True) -> None:
        self.rate, self.rescale = rate, rescale

    @property
    def limit(self) -> int:
        """The 16-bit number below which a unit is dropped."""
        return round(self.rate * LEVELS)

    @property
    def factor(self) -> float:
        """What the outputs that stay are multiplied by."""
        return LEVELS / (LEVELS - self.limit) if self.rescale else 1.0

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return `x` with some outputs set to 0, and the backward function."""
        xp, pass_ = ctx.device.xp, ctx.pass_
        if not pass_.training:
            return x, lambda dy: dy
        width, purpose = math.prod(x.shape[1:]), f"dropout {ctx.name}"
        drawn = field(len(x), width, pass_.first_row, ctx.seed, purpose, pass_.step)
        drawn = drawn.reshape(x.shape)
        mask = ctx.array("mask", x.shape)
        ctx.device.put((drawn >= self.limit).astype(mask.dtype), mask)
        xp.multiply(mask, self.factor, out=mask)
        y = xp.multiply(x, mask, out=ctx.array("output", x.shape))
        return y, lambda dy: xp.multiply(dy, mask, out=dy)
