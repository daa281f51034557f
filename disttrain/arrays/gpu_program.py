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
from disttrain.arrays.gpu_kernels import FORMS, activating, deriving, squaring
from disttrain.arrays.gpu_launch import launch, launch_blocks
from disttrain.arrays.gpu_losses import multiplying, softmax, squared, tally
from disttrain.arrays.gpu_notes import launches_of

__all__ = ["GpuProgram"]

Array = Any
# Numbers in the block, as in cuda/update.cu: what makes sums of gradients the mean, the rate,
# Adam's 1-β₁ᵗ and 1/√(1-β₂ᵗ), the divisor of a batch, 1 / its samples.
NUMBERS = 6


class GpuProgram:
    """The launches of one step, for batches of `rows` samples and `keys` layers with dropout.

    `header` (on the GPU; `found` on the host, after `run` of the part in which `tell` was noted)
    has `units` losses, then how many rows are right, and rows. `numbers`, `keys` and `samples` are
    the host's side of the block, which the first part copies.
    """

    def __init__(self, device: Any, dtype: str, rows: int, keys: int, units: int) -> None:
        self._device, self._dtype, self._units = device, np.dtype(dtype), units
        self._launches: list[Callable[[], None]] = []
        self._parts = [self._launches]
        self._replays: dict[int, Replay] = {}
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
        return next((r.problem for r in self._replays.values() if r.problem), "")

    def pause(self) -> int:
        """Begin another part, behind something that the host does; return its number."""
        self._launches = []
        self._parts.append(self._launches)
        return len(self._parts) - 1

    def run(self, part: int = 0) -> None:
        """Do a part: a launch of a graph from the second time on. Returns when it is done."""
        if part not in self._replays:
            self._replays[part] = Replay(self._parts[part])
        self._replays[part]()

    def copy(self, to: Array, source: Array) -> None:
        """Copy from pinned memory to the GPU, or back."""
        self._launches.append(Copy(to, source))

    def tell(self) -> None:
        """Copy the header to the host."""
        self.copy(self.found, self.header)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on the GPU."""
        return self._device.empty(shape, dtype)

    def gather(self, stored: Array, scale: Array, shift: Array, out: Array, first: int) -> None:
        """`out = stored[samples] * scale + shift` from place `first` on, with `stored` of uint8."""
        scales = [cupy.asarray(array) for array in (scale, shift)]
        given = out.shape[1], stored, self._samples[first : first + len(out)], *scales, out
        self._launches.append(launch("gather", self._dtype, out.size, *given))

    def take(self, targets: Array, out: Array, first: int) -> None:
        """`out = targets[samples]` from place `first` on: classes (int64), or numbers (float64)."""
        samples = self._samples[first : first + len(out)]
        if targets.dtype == np.int64:
            made = launch("take_classes", self._dtype, out.size, targets, samples, out)
        else:
            width = out[:1].size
            made = launch("take_numbers", self._dtype, out.size, width, targets, samples, out)
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
        """Add the sum of losses to the header, and how many rows are right, and rows."""
        self._launches.append(
            tally(losses, self.header, unit, self._dtype, self._units, outputs, classes)
        )

    def note(
        self, name: str, arrays: tuple[Array, ...], sizes: tuple[int, ...] = (),
        numbers: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """Note a call of a layer or a loss, as `recording.Program.note` is given it."""
        given = [None if isinstance(array, int) else array for array in arrays]
        self._launches += launches_of(name, given, sizes, numbers, self._dtype, self._samples)

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

    def clip(self, parts: Sequence[Array], limit: float) -> None:
        """Make the mean gradient, whose `parts` these are, no longer than `limit`."""
        sums = self.empty((len(parts),), "f8")
        for number, part in enumerate(parts):
            self._launches += squaring(part, sums[number : number + 1])
        given = len(parts), sums, float(limit), self._numbers
        self._launches.append(launch_blocks("clip", self._dtype, (1,), (1,), *given))

    def momentum(
        self, form: str, vectors: Sequence[Array], beta: float, decay: float, decayed: int,
        factor: float,
    ) -> None:  # fmt: skip
        """One update of `w, v, g`, where all losses are finite; the first `decayed` decay.

        The rate is multiplied by `factor`.
        """
        numbers = 0.0, 0.0, float(beta), float(decay)
        behind = decayed, float(factor), self._numbers, self.header, self._units
        self._launches.append(launch("momentum", self._dtype, vectors[0].size, FORMS.index(form),
                                     *vectors, *numbers, *behind))  # fmt: skip

    def adam(
        self, vectors: Sequence[Array], decoupled: bool, decay: float, beta1: float, beta2: float,
        epsilon: float, decayed: int, factor: float,
    ) -> None:  # fmt: skip
        """One update of `w, m, v, g`, as `momentum`."""
        shrink, own = (0.0, decay) if decoupled else (decay, 0.0)
        numbers = map(float, (0, shrink, 1, beta1, beta2, 0, 0, epsilon, own))
        behind = decayed, float(factor), self._numbers, self.header, self._units
        self._launches.append(launch("adam", self._dtype, vectors[0].size, *vectors, *numbers,
                                     *behind))  # fmt: skip
