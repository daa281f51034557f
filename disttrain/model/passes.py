"""One pass of rows through a network: what it is for, and what a layer works with in it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from disttrain.arrays import Array, Device, Workspace

__all__ = ["PREDICTION", "Asking", "Backward", "Context", "Pass", "alone", "times"]

# From the gradient of a layer's output to that of its input; None where it is not needed.
Backward = Callable[[Array], "Array | None"]
T = TypeVar("T")
# Yields the sums of its own rows, is sent those of the global batch.
Asking = Generator[Array, Array, T]
# With AVX-512, OpenBLAS has other kernels for products of fewer multiplications than this.
SMALL = 1 << 20


def _ignore(end: int) -> None:
    """Do nothing: the default of `on_ready`."""


class Pass(NamedTuple):
    """What a pass is for, and where its gradients go: the caller owns their memory.

    A layer may compute something else in `training` than at prediction, as dropout does. Random
    numbers are keyed by `step`, the number of the update, and by the row's number in the global
    batch, of which `first_row` is that of the first row: so they do not depend on the ranks.

    `gradients` has a dictionary for each layer: its parameters' gradients as views of a flat vector
    (`Layout.views`), which the backward pass overwrites. After each layer it calls `on_ready(end)`:
    that vector is complete up to `end`. If `take` is given, it is called with the number of a
    layer, `dy` and `x`, and their product `dyᵀ x` is not computed. Small products are computed
    `tile` rows at a time (0: all rows), so that the bits of a row do not depend on their number; or
    `tiles` times as many, where that has the same bits. Passes that are under way at once have each
    a `place`, and with it buffers of their own; `arrays` are buffers of the caller's, by the number
    of a layer and the name that it gives them.
    """

    training: bool = True
    step: int = 0
    first_row: int = 0
    gradients: Sequence[dict[str, Array]] = ()
    on_ready: Callable[[int], None] = _ignore
    take: Callable[[int, Array, Array], None] | None = None
    tile: int = 0
    place: int = 0
    tiles: int = 1
    arrays: Mapping[tuple[int, str], Array] = MappingProxyType({})


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
        return times(self.device.dot, rows, matrix, out, self.pass_.tile, self.pass_.tiles)

    def outer(self, dy: Array, x: Array) -> None:
        """Write `dyᵀ x`, the sum over these rows, into the gradient of `weight`.

        Where the pass has a `take`, that gets both instead.
        """
        if self.pass_.take is None:
            self.device.dot(dy.T, x, out=self.gradients["weight"])
        else:
            self.pass_.take(self.number, dy, x)

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return a buffer of this layer's: the same memory for the same shape in every step."""
        given = self.pass_.arrays.get((self.number, name))
        if given is not None:
            return given
        return self.workspace.array((self.name, name), shape, self.dtype)


def alone(asking: Asking[T]) -> T:
    """Return what `asking` returns where its rows are the whole batch."""
    try:
        sums = next(asking)
        while True:
            sums = asking.send(sums)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def times(
    dot: Callable[..., Array], rows: Array, matrix: Array, out: Array, tile: int = 0,
    tiles: int = 1,
) -> Array:  # fmt: skip
    """Write `rows @ matrix` to `out`; return it.

    In calls of `tile` rows where these are small, or of so many whole `tiles` at once; rows behind
    the last whole tile have a call of their own.
    """
    if not tile or tile >= len(rows) or tile * matrix.size >= SMALL:
        return dot(rows, matrix, out=out)
    whole = len(rows) // tile * tile
    for low in range(0, whole, tile * tiles):
        high = min(low + tile * tiles, whole)
        dot(rows[low:high], matrix, out=out[low:high])
    if whole < len(rows):
        dot(rows[whole:], matrix, out=out[whole:])
    return out
