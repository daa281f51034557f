"""One pass of rows through a network: what it is for, and what a layer works with in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from disttrain.arrays import Array, Device, Workspace

__all__ = ["PREDICTION", "Backward", "Context", "Pass", "times"]

# From the gradient of a layer's output to that of its input; None where nobody needs it.
Backward = Callable[[Array], "Array | None"]
# Below so many multiplications OpenBLAS takes other kernels on AVX-512; from a million on it does
# not.
SMALL = 1 << 20


def _tell_nobody(end: int) -> None:
    """Do nothing: the `on_ready` of who waits for the whole backward pass."""


class Pass(NamedTuple):
    """What a pass is for, and where its gradients go: whoever starts it owns their memory.

    A layer may do something else in `training` than at prediction, as dropout does. `step` is the
    number of the update and `place` that of the first row in the global batch: random numbers are
    keyed by them, so that they do not depend on the ranks.

    `gradients` has a dictionary for each layer: its parameters' gradients as views of a flat vector
    (`Layout.views`), which the backward pass overwrites. After each layer it calls `on_ready(end)`:
    that vector is complete up to `end`. `take`, where it is given, gets the number of a layer, `dy`
    and `x` instead of their product `dyᵀ x` being computed. Small products of rows are cut into
    calls of `tile` rows each (0: one call), so that a row has the same bits with whichever others.
    """

    training: bool = True
    step: int = 0
    place: int = 0
    gradients: Sequence[dict[str, Array]] = ()
    on_ready: Callable[[int], None] = _tell_nobody
    take: Callable[[int, Array, Array], None] | None = None
    tile: int = 0


PREDICTION = Pass(training=False)


@dataclass(slots=True)
class Context:
    """What layer number `number` works with in one pass: its parameters, gradients and buffers.

    `values` and `gradients` are views, by the names of the parameters. `needs_input_gradient` is
    False up to the first layer with parameters: backward may return None there. `seed` is that of
    the run, for random numbers.
    """

    name: str
    device: Device
    dtype: Any
    workspace: Workspace
    values: dict[str, Array]
    gradients: dict[str, Array] = field(default_factory=dict)
    needs_input_gradient: bool = True
    seed: int = 0
    number: int = 0
    pass_: Pass = PREDICTION

    def product(self, rows: Array, matrix: Array, out: Array) -> Array:
        """Write `rows @ matrix` to `out` and return it."""
        return times(self.device.xp.dot, rows, matrix, out, self.pass_.tile)

    def outer(self, dy: Array, x: Array) -> None:
        """Write `dyᵀ x`, the sum over these rows, into the gradient of `weight`.

        Where gradients are products over the rows of all ranks, both are handed over instead.
        """
        if self.pass_.take is None:
            self.device.xp.dot(dy.T, x, out=self.gradients["weight"])
        else:
            self.pass_.take(self.number, dy, x)

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return a buffer of this layer's: the same memory for the same shape in every step."""
        return self.workspace.array((self.name, name), shape, self.dtype)


def times(
    dot: Callable[..., Array], rows: Array, matrix: Array, out: Array, tile: int = 0
) -> Array:
    """Write `rows @ matrix` to `out`, in calls of `tile` rows where these are small; return it."""
    if not tile or tile >= len(rows) or tile * matrix.size >= SMALL:
        return dot(rows, matrix, out=out)
    for low in range(0, len(rows), tile):
        dot(rows[low : low + tile], matrix, out=out[low : low + tile])
    return out
