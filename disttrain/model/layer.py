"""What a layer is: a class with `forward`, which returns its output and its backward function.

    class Scale(Layer):
        def parameters(self, shape):
            return {"gain": Parameter(shape, initial=1.0)}

        def forward(self, x, ctx):
            gain = ctx.values["gain"]
            def backward(dy):
                ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
                return dy * gain
            return x * gain, backward

Nothing is stored on the layer but its settings: parameters, gradients and buffers come with `ctx`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from disttrain.arrays import Array
from disttrain.model.passes import Asking, Backward, Context

__all__ = ["Layer", "Parameter", "Shape"]

Shape = tuple[int, ...]
"""The shape of one sample, as in (28, 28) or (784,)."""


@dataclass(frozen=True)
class Parameter:
    """The shape of one parameter and how it begins.

    `initial` is a constant, or a function of a random generator that returns the values. Weight
    decay leaves out a parameter with `decay=False`. One with `trained=False` is no weight but a
    running average: an update takes from it the mean over samples of its part of `gradients`.
    """

    shape: tuple[int, ...]
    initial: float | Callable[[Any], Any] = 0.0
    decay: bool = True
    trained: bool = True


class Layer(ABC):
    """A piece of the network: `x` has shape `(rows, *shape)`, one row a sample of that shape.

    `rowwise` says that each row of the output, and of the gradient of `x`, comes from the same row
    alone, and that the parameters, if any, are `weight`, whose gradient goes through `ctx.outer`,
    and `bias`, whose gradient is the sum of `dy` over samples.

    A layer that needs sums over the global batch says how many (`asks`) and has a generator
    `asking(x, ctx)` besides: it yields its own rows' sums (float64), is sent those of the batch,
    and returns what `forward` returns; its backward function is such a generator too.
    """

    kind = "layer"
    rowwise = False

    def __repr__(self) -> str:
        """Return how it is made, without the arguments that are left at their defaults."""
        known = inspect.signature(type(self).__init__).parameters.values()
        given = {p.name: vars(self)[p.name] for p in known if p.name in vars(self)}
        stated = (f"{p.name}={given[p.name]!r}" for p in known
                  if p.name in given and given[p.name] != p.default)  # fmt: skip
        return f"{type(self).__name__}({', '.join(stated)})"

    def outputs(self, shape: Shape) -> Shape:
        """Return the shape of what comes out of a sample of `shape`."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return the parameters that this layer has for samples of `shape`."""
        return {}

    def asks(self, shape: Shape) -> tuple[int, int]:
        """Return how many sums over the global batch it needs, forward and backward."""
        return 0, 0

    def asking(self, x: Array, ctx: Context) -> Asking[tuple[Array, Any]]:
        """Do what `forward` does, and ask for these sums."""
        raise NotImplementedError

    @abstractmethod
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output for `x` and the function that takes gradients back.

        That function gets the gradient of the output, which it may overwrite, writes the gradients
        of the parameters, as sums over rows, into `ctx.gradients`, and returns the gradient of `x`.
        """
