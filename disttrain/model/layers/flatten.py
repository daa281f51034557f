"""A sample as the vector of its numbers; a dense layer does the same by itself."""

from __future__ import annotations

import math

from disttrain.arrays import Array
from disttrain.model.layer import Layer, Shape
from disttrain.model.passes import Backward, Context

__all__ = ["Flatten"]


class Flatten(Layer):
    """`y` has the numbers of `x`, the last axis first: row by row, channel by channel."""

    kind = "flatten"
    rowwise = True

    def outputs(self, shape: Shape) -> Shape:
        """Return how many numbers a sample has, as a shape."""
        return (math.prod(shape),)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the vectors, and what gives gradients their shape back."""
        return x.reshape(len(x), math.prod(x.shape[1:])), lambda dy: dy.reshape(x.shape)
