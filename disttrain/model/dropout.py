"""Dropout: training leaves out a random part of a layer's outputs, another one for each sample."""

from __future__ import annotations

from disttrain.arrays import Array, field
from disttrain.model.layer import Backward, Context, Layer

__all__ = ["Dropout"]

# A unit is dropped where its random 16-bit number is below `rate` of these.
LEVELS = 1 << 16


class Dropout(Layer):
    """`y = x m / (1 - p)`, `m` is 0 with probability `p` and else 1; at prediction `y = x`.

    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014, with
    the factor at training instead of prediction. `m` is a function of the seed, the step, the
    layer and the sample's place in the global batch: the same on any number of ranks. `p` is taken
    to the nearest 1/65536.
    """

    kind = "dropout"
    rowwise = True

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return `x` with some of it left out, and the backward function."""
        moment, xp = ctx.moment, ctx.device.xp
        if moment is None:
            return x, lambda dy: dy
        limit = round(self.rate * LEVELS)
        purpose = f"dropout {ctx.name}"
        drawn = field(len(x), x.shape[1], moment.place, moment.seed, purpose, moment.step)
        mask = ctx.array("mask", x.shape)
        ctx.device.put((drawn >= limit).astype(mask.dtype), mask)
        xp.multiply(mask, LEVELS / (LEVELS - limit), out=mask)
        y = xp.multiply(x, mask, out=ctx.array("output", x.shape))
        return y, lambda dy: xp.multiply(dy, mask, out=dy)
