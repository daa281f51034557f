"""What a layer is: a class with `forward`, which returns its output and its backward function.

    class Scale(Layer):
        def parameters(self, inputs):
            return {"gain": Parameter((inputs,), initial=1.0)}

        def forward(self, x, ctx):
            gain = ctx.values["gain"]
            def backward(dy):
                ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
                return dy * gain
            return x * gain, backward

Nothing is stored on the layer but its settings: parameters, gradients and buffers come with `ctx`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from disttrain.arrays import Array, Device, Workspace

__all__ = ["Backward", "Context", "Layer", "Moment", "Parameter"]

# From the gradient of a layer's output to that of its input; None where nobody needs it.
Backward = Callable[[Array], "Array | None"]


@dataclass(frozen=True)
class Parameter:
    """The shape of one parameter and how it begins.

    `initial` is a constant, or a function of a random generator that returns the values. Weight
    decay leaves out a parameter with `decay=False`.
    """

    shape: tuple[int, ...]
    initial: float | Callable[[Any], Any] = 0.0
    decay: bool = True


@dataclass
class Moment:
    """Which samples a training pass is about: `place` is that of its first row in the global batch.

    Random numbers of a layer are keyed by it, so that they do not depend on the ranks.
    """

    seed: int
    step: int = 0
    place: int = 0


@dataclass
class Context:
    """What a layer works with in one pass: views of its parameters and gradients, and buffers.

    `needs_input_gradient` is False for the first layer with parameters: its backward may return
    None. `moment` is None where nothing is trained. `keep` takes what `outer` would multiply, where
    the gradient of a weight is made of the rows of all ranks at once; `tile` cuts products of
    rows into calls of so many rows each (0: one call).
    """

    name: str
    device: Device
    dtype: Any
    workspace: Workspace
    values: dict[str, Array]
    gradients: dict[str, Array] = field(default_factory=dict)
    needs_input_gradient: bool = True
    moment: Moment | None = None
    keep: Callable[[Array, Array], None] | None = None
    tile: int = 0

    def product(self, rows: Array, matrix: Array, out: Array) -> Array:
        """Write `rows @ matrix` to `out` and return it."""
        dot, tile = self.device.xp.dot, self.tile or len(rows)
        if tile >= len(rows):
            return dot(rows, matrix, out=out)
        for low in range(0, len(rows), tile):
            dot(rows[low : low + tile], matrix, out=out[low : low + tile])
        return out

    def outer(self, dy: Array, x: Array) -> None:
        """Write `dyᵀ x`, summed over these samples, into the gradient of `weight`; or keep both."""
        if self.keep is None:
            self.device.xp.dot(dy.T, x, out=self.gradients["weight"])
        else:
            self.keep(dy, x)

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return a buffer of this layer's: the same memory for the same shape in every step."""
        return self.workspace.array((self.name, name), shape, self.dtype)


class Layer(ABC):
    """A piece of the network. Inputs are rows: `x` has shape `(samples, inputs)`.

    `rowwise` says that each row of the output, and of the gradient of `x`, comes from the same row
    alone, and that the parameters, if any, are `weight`, whose gradient goes through `ctx.outer`,
    and `bias`, whose gradient is the sum of `dy` over samples.
    """

    kind = "layer"
    rowwise = False

    def outputs(self, inputs: int) -> int:
        """Return how many numbers come out of a sample of `inputs` numbers."""
        return inputs

    def parameters(self, inputs: int) -> dict[str, Parameter]:
        """Return the parameters that this layer has for samples of `inputs` numbers."""
        return {}

    @abstractmethod
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output for `x` and the function that takes gradients back.

        That function writes the gradients of the parameters, as sums over samples, into
        `ctx.gradients`, and returns the gradient of `x`. It may overwrite what it is given.
        """
