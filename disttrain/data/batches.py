"""The global batch of each step, and this rank's pieces of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from disttrain.arrays import Array, Device, Workspace
from disttrain.data.augmentation import Augmentation
from disttrain.data.dataset import Split
from disttrain.data.division import Division, Piece
from disttrain.data.normalization import Normalization
from disttrain.data.order import BlockShuffle
from disttrain.data.targets import TargetScale

__all__ = ["Batches", "Feed", "Part", "batch_sizes"]


class Feed:
    """Turns samples into numbers on the device: read, normalize, copy; each gets `shape`.

    Targets that are numbers are brought to `scale`, where there is one. One that `reconstructs`
    gives the inputs themselves as targets. With an epoch, training samples are changed by the
    `augmentation`, where there is one.
    """

    def __init__(
        self,
        normalization: Normalization,
        shape: tuple[int, ...],
        dtype: str,
        device: Device,
        scale: TargetScale | None = None,
        reconstructs: bool = False,
    ) -> None:
        self._normalization, self._shape, self.scale = normalization, shape, scale
        self.reconstructs = reconstructs
        self.augmentation: Augmentation | None = None
        self._dtype, self._device = np.dtype(dtype), device
        self._host = Workspace(device.empty_host)
        self._workspace = Workspace(device.empty)

    def __call__(
        self, split: Split, samples: np.ndarray, epoch: int | None = None
    ) -> tuple[Array, Array]:
        """Return inputs (rows, *shape) and targets of `samples`; valid until the next call."""
        augmented = self.augmentation if epoch is not None else None
        stored, places = split.rows.locate(samples)
        if augmented:
            stored = augmented.moved(stored[places], samples, epoch or 0)
            places = np.arange(len(samples))
        self._device.wait_for_copies()
        flat = (len(samples), split.rows.inputs)
        raw = self._host.array("raw", flat, stored.dtype)
        inputs = self._host.array("inputs", flat, self._dtype)
        self._normalization.apply(stored, places, raw, inputs)
        if augmented:
            augmented.add_noise(inputs, samples, epoch or 0)
        moved = self._moved("inputs", inputs)
        shaped = moved
        if len(self._shape) != 1:
            shaped = moved.reshape(len(samples), *self._shape)
        if self.reconstructs:
            return shaped, moved
        targets = split.targets[samples]
        if targets.dtype.kind == "f":
            scaled = self.scale.apply(targets) if self.scale else targets
            targets = scaled.astype(self._dtype)
        if self._device.kind != "cpu":
            staged = self._host.array("targets", targets.shape, targets.dtype)
            np.copyto(staged, targets)
            targets = staged
        return shaped, self._moved("targets", targets)

    def _moved(self, name: str, host: np.ndarray) -> Array:
        if self._device.kind == "cpu":
            return host
        return self._device.send(host, self._workspace.array(name, host.shape, host.dtype))


class Part(NamedTuple):
    """Samples that go through the network at once, and where in the global batch they stand."""

    piece: Piece
    samples: np.ndarray
    inputs: Array
    targets: Array


def batch_sizes(count: int, batch_size: int | None) -> list[int]:
    """Return the different numbers of rows that a global batch can have, the largest first.

    `count` samples are cut into batches of `batch_size` (None: all of them); the last one is what
    remains.
    """
    whole = min(batch_size or count, count)
    return [whole, count % whole] if count % whole else [whole]


class Batches:
    """The global batches of a run: batch `t` is a function of (seed, t) alone.

    An epoch cuts the order of samples into batches of `batch_size`; the last one is what remains.
    `division` says which rows of a batch this rank takes, and in which parts; `counts` is what each
    sample adds to the divisor of its batch, None: 1.
    """

    def __init__(
        self,
        split: Split,
        order: BlockShuffle,
        batch_size: int | None,
        feed: Feed,
        division: Division,
        counts: np.ndarray | None = None,
    ) -> None:
        self.counts = counts
        self._split, self._order, self._feed, self.division = split, order, feed, division
        self.batch_size = batch_sizes(split.count, batch_size)[0]
        self.steps_per_epoch = -(-split.count // self.batch_size)

    @property
    def samples_per_epoch(self) -> int:
        """The number of training samples."""
        return self._split.count

    def places(self, first: int, end: int) -> list[tuple[int, int, int]]:
        """Return the places in epochs of steps `first..end-1`, as (epoch, low, high)."""
        found = []
        while first < end:
            epoch, begin = divmod(first, self.steps_per_epoch)
            last = min(end, (epoch + 1) * self.steps_per_epoch) - epoch * self.steps_per_epoch
            high = min(last * self.batch_size, self._split.count)
            found.append((epoch, begin * self.batch_size, high))
            first = epoch * self.steps_per_epoch + last
        return found

    def order_of(self, epoch: int, low: int, high: int) -> np.ndarray:
        """Return the samples in places `low..high-1` of an epoch, in their order."""
        return self._order.samples(epoch, low, high)

    def rows(self, step: int) -> int:
        """Return the number of rows in the global batch of `step`."""
        low = step % self.steps_per_epoch * self.batch_size
        return min(self.batch_size, self._split.count - low)

    def divisor(self, step: int) -> float:
        """Return what the sums of a global batch are divided by: its rows, or their weight."""
        if self.counts is None:
            return float(self.rows(step))
        return math.fsum(self.counts[self.samples(step)]) or 1.0

    def weights(self, samples: np.ndarray) -> np.ndarray | None:
        """Return the weights that the data file has for these samples, or None."""
        return None if self._split.weights is None else self._split.weights[samples]

    def samples(self, step: int, low: int = 0, high: int | None = None) -> np.ndarray:
        """Return the samples at places `low..high-1` of the global batch of `step`; all of them."""
        begin = step % self.steps_per_epoch * self.batch_size
        end = begin + (self.rows(step) if high is None else high)
        return self._order.samples(step // self.steps_per_epoch, begin + low, end)

    def parts_of(self, step: int) -> Iterator[Part]:
        """Yield this rank's parts of the global batch of `step`; arrays are valid until the next.

        There is at least one part, of no rows where this rank's share is empty.
        """
        for piece in self.division.parts(self.rows(step)):
            samples = self.samples(step, piece.low, piece.high)
            epoch = step // self.steps_per_epoch
            yield Part(piece, samples, *self._feed(self._split, samples, epoch))
