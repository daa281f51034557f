"""A step on a GPU as launches in a fixed order: what `recording.Program` is on the processor.

Its methods note a launch each, with the same names and arguments; nothing runs before `run`. What
changes from step to step (sample numbers, rates, keys of dropout) stands in a small block in pinned
memory, which the first launch copies to the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy as np

from disttrain.arrays.gpu_graph import Copy, Replay
from disttrain.arrays.gpu_kernels import FORMS, activating, deriving
from disttrain.arrays.gpu_launch import launch
from disttrain.arrays.gpu_losses import multiplying, softmax, squared, tally
from disttrain.arrays.gpu_normalization import (
    batch_norm_gradient,
    batch_sums,
    layer_norm,
    layer_norm_gradient,
)

__all__ = ["GpuProgram"]

Array = Any
# Numbers in the block: 1 / samples, the rate, Adam's corrected rate and root.
NUMBERS = 4


class GpuProgram:
    """The launches of one step, for batches of `rows` samples and `keys` layers with dropout.

    `header` (on the GPU; `found` on the host, after `run`) has `units` losses, then how many rows
    are right, and rows. `numbers`, `keys` and `samples` are the host's side of the block.
    """

    def __init__(self, device: Any, dtype: str, rows: int, keys: int, units: int) -> None:
        self._device, self._dtype, self._units = device, np.dtype(dtype), units
        self._launches: list[Callable[[], None]] = []
        self._replay: Replay | None = None
        self.packed: dict[tuple[int, bool], Array] = {}
        length = NUMBERS + 2 * keys + rows
        host, self._block = (
            device.empty_host((length,), np.int64),
            device.empty((length,), np.int64),
        )
        ends = NUMBERS, NUMBERS + 2 * keys
        self.numbers = host[: ends[0]].view("f8")
        self.keys, self.samples = host[ends[0] : ends[1]], host[ends[1] :]
        self._numbers = self._block[: ends[0]].view("f8")
        self._keys, self._samples = self._block[ends[0] : ends[1]], self._block[ends[1] :]
        self.header, self.found = (
            device.empty((units + 2,), "f8"),
            device.empty_host((units + 2,), "f8"),
        )
        self._launches.append(Copy(self._block, host))
        self._launches.append(launch("clear", dtype, units + 2, self.header))

    @property
    def problem(self) -> str:
        """Why launches are not captured; "" where they are, or have not run twice yet."""
        return self._replay.problem if self._replay else ""

    def run(self) -> None:
        """Do the step: a launch of a graph from the second time on. Returns when it is done."""
        if self._replay is None:
            self._launches.append(Copy(self.found, self.header))
            self._replay = Replay(self._launches)
        self._replay()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on the GPU."""
        return self._device.empty(shape, dtype)

    def gather(self, stored: Array, scale: Array, shift: Array, out: Array) -> None:
        """`out = stored[samples] * scale + shift`, with `stored` of uint8."""
        scales = [cupy.asarray(array) for array in (scale, shift)]
        given = out.shape[1], stored, self._samples, *scales, out
        self._launches.append(launch("gather", self._dtype, out.size, *given))

    def take(self, targets: Array, out: Array) -> None:
        """`out = targets[samples]`: classes (int64), or numbers (float64) in its dtype."""
        if targets.dtype == np.int64:
            made = launch("take_classes", self._dtype, out.size, targets, self._samples, out)
        else:
            width = out[:1].size
            made = launch("take_numbers", self._dtype, out.size, width, targets, self._samples, out)
        self._launches.append(made)

    def product(self, a: Array, b: Array, out: Array) -> Array:
        """`out = a @ b`; return `out`."""
        self._launches += multiplying(a, b, out)
        return out

    def activate(self, z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
        """`z = f(a)`, `a = z + bias`; of gelu and silu `slope = f'(a)`, where it is given."""
        self._launches.append(activating(z, bias, activation, slope))

    def activation_gradient(self, dy: Array, y: Array, activation: str, dbias: Array) -> None:
        """`dy = dy f'(a)` where `y = f(a)`, or the slope; `dbias` is its sum over rows."""
        self._launches += deriving(dy, y, activation, dbias)

    def function(self, call: Any) -> None:
        """Do what a call of `GpuImages` does."""
        self._launches += call.launches

    def softmax(self, o: Array, classes: Array, f: Array, sums: Array, losses: Array) -> None:
        """`losses` of the softmax, and `f` their gradient."""
        self._launches.append(softmax(o, classes, f, losses))

    def softmax_gradient(self, f: Array, classes: Array, sums: Array) -> None:
        """`f` is there already."""

    def squared(
        self, o: Array, targets: Array, difference: Array, losses: Array, units: Array | None
    ) -> None:
        """`losses` of squares, and `difference` their gradient."""
        factors = None if units is None else cupy.asarray(units, "f8")
        self._launches.append(squared(o, targets, difference, losses, factors))

    def squared_gradient(self, difference: Array) -> None:
        """`difference` is there already."""

    def dropout(
        self, x: Array, mask: Array, y: Array, first: int, limit: int, key: int, factor: float
    ) -> None:
        """Draw `mask` for rows from `first` on, with key number `key`; `y = x mask`."""
        own = self._keys[2 * key : 2 * key + 2]
        given = x[:1].size, first, limit, float(factor), own, x, mask, y
        self._launches.append(launch("dropout", self._dtype, x.size, *given))

    def multiply(self, x: Array, y: Array) -> None:
        """`x = x y`."""
        self._launches.append(launch("multiply", self._dtype, x.size, x, y))

    def add(self, x: Array, y: Array) -> None:
        """`x = x + y`."""
        self._launches.append(launch("add", self._dtype, x.size, x, y))

    def tally(self, losses: Array, unit: int, outputs: Array, classes: Array | None) -> None:
        """Write the sum of losses to the header, and add how many rows are right, and rows."""
        self._launches.append(
            tally(losses, self.header, unit, self._dtype, self._units, outputs, classes)
        )

    def note(
        self, name: str, arrays: tuple[Array, ...], sizes: tuple[int, ...] = (),
        numbers: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """Note a call of normalization, as `recording.Program.note` is given it."""
        given: Any = [None if isinstance(array, int) else array for array in arrays]
        if name == "layer_norm":
            self._launches.append(layer_norm(*given, *numbers))
        elif name == "layer_norm_gradient":
            self._launches += layer_norm_gradient(*given[:-1])
        elif name == "batch_sums":
            x, y, sums, _, *own = given
            self._launches += batch_sums(x, y, sums, sizes[1], *own)
        elif name == "batch_moments":
            part = numbers[0] * sizes[1]
            self._launches.append(
                launch("batch_moments", self._dtype, sizes[0], *given, part, numbers[1])
            )
        elif name == "batch_norm":
            self._launches.append(
                launch("batch_norm", self._dtype, given[0].size, sizes[1], *given[:-1])
            )
        else:
            self._launches.append(batch_norm_gradient(*given[:-1]))

    def sum_over_batch(self, parts: Sequence[Array]) -> Array:
        """Return where the sum of vectors of float64 will be, added in their order."""
        total = self.empty(parts[0].shape, "f8")
        self._launches.append(launch("clear", self._dtype, total.size, total))
        for part in parts:
            self._launches.append(launch("add_sums", self._dtype, total.size, part, total))
        return total

    def averages(self, w: Array, g: Array) -> None:
        """`w = w - g / samples`, where all losses are finite."""
        behind = self._numbers, self.header, self._units
        self._launches.append(launch("averages", self._dtype, w.size, w, g, *behind))

    def momentum(
        self, form: str, vectors: Sequence[Array], beta: float, decay: float, decayed: int
    ) -> None:
        """One update of `w, v, g`, where all losses are finite; the first `decayed` decay."""
        numbers = 0.0, 0.0, float(beta), float(decay)
        behind = decayed, self._numbers, self.header, self._units
        self._launches.append(launch("momentum", self._dtype, vectors[0].size, FORMS.index(form),
                                     *vectors, *numbers, *behind))  # fmt: skip

    def adam(
        self, vectors: Sequence[Array], decoupled: bool, decay: float, beta1: float, beta2: float,
        epsilon: float, decayed: int,
    ) -> None:  # fmt: skip
        """One update of `w, m, v, g`, as `momentum`."""
        shrink, own = (0.0, decay) if decoupled else (decay, 0.0)
        numbers = map(float, (0, shrink, 1, beta1, beta2, 0, 0, epsilon, own))
        behind = decayed, self._numbers, self.header, self._units
        self._launches.append(launch("adam", self._dtype, vectors[0].size, *vectors, *numbers,
                                     *behind))  # fmt: skip
