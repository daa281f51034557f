"""The global batch of each step, and this rank's share of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from disttrain.arrays import Array, Device, Workspace
from disttrain.data.dataset import Split
from disttrain.data.normalization import Normalization
from disttrain.data.order import BlockShuffle

__all__ = ["Batches", "Feed", "share"]

# Rows that go through the network at once: a share of a huge global batch is cut into pieces.
PIECE_ROWS = 8192


def share(rows: int, rank: int, size: int) -> tuple[int, int]:
    """Return the places in a batch of `rows` that `rank` of `size` takes: a range, maybe empty."""
    return rows * rank // size, rows * (rank + 1) // size


class Feed:
    """Turns samples into rows of numbers on the device: read, normalize, copy."""

    def __init__(self, normalization: Normalization, dtype: str, device: Device) -> None:
        self._normalization = normalization
        self._dtype, self._device = np.dtype(dtype), device
        self._host = Workspace(device.empty_host)
        self._workspace = Workspace(device.empty)

    def __call__(self, split: Split, samples: np.ndarray) -> tuple[Array, Array]:
        """Return inputs (rows, inputs) and targets of `samples`; valid until the next call."""
        stored, places = split.rows.locate(samples)
        self._device.wait_for_copies()
        shape = (len(samples), split.rows.inputs)
        raw = self._host.array("raw", shape, stored.dtype)
        inputs = self._host.array("inputs", shape, self._dtype)
        self._normalization.apply(stored, places, raw, inputs)
        targets = split.targets[samples]
        if targets.dtype.kind == "f":
            targets = targets.astype(self._dtype)
        return self._moved("inputs", inputs), self._moved("targets", targets)

    def _moved(self, name: str, host: np.ndarray) -> Array:
        if self._device.kind == "cpu":
            return host
        return self._device.put(host, self._workspace.array(name, host.shape, host.dtype))


class Batches:
    """The global batches of a run: batch `t` is a function of (seed, t) alone.

    An epoch cuts the order of samples into batches of `batch_size`; the last one is what remains.
    """

    def __init__(
        self,
        split: Split,
        order: BlockShuffle,
        batch_size: int | None,
        feed: Feed,
        rank: int,
        size: int,
    ) -> None:
        self._split, self._order, self._feed = split, order, feed
        self.batch_size = min(batch_size or split.count, split.count)
        self.steps_per_epoch = -(-split.count // self.batch_size)
        self._rank, self._size = rank, size

    def samples(self, step: int) -> np.ndarray:
        """Return the samples of the global batch of `step`, in order."""
        return self._slice(step, 0, 1)

    def share_of(self, step: int) -> Iterator[tuple[Array, Array]]:
        """Yield this rank's share of the global batch of `step` as pieces (inputs, targets).

        There is at least one piece, of no rows where the share is empty; nearly always it is one.
        """
        mine = self._slice(step, self._rank, self._size)
        for low in range(0, max(len(mine), 1), PIECE_ROWS):
            yield self._feed(self._split, mine[low : low + PIECE_ROWS])

    def place(self, step: int) -> int:
        """Return the place in the global batch of `step` at which this rank's share begins."""
        begin, end = self._bounds(step)
        return share(end - begin, self._rank, self._size)[0]

    def pieces(self, step: int) -> int:
        """Return how many pieces `share_of(step)` yields."""
        epoch_low, epoch_high = self._bounds(step)
        low, high = share(epoch_high - epoch_low, self._rank, self._size)
        return max(-(-(high - low) // PIECE_ROWS), 1)

    def _bounds(self, step: int) -> tuple[int, int]:
        low = step % self.steps_per_epoch * self.batch_size
        return low, min(low + self.batch_size, self._split.count)

    def _slice(self, step: int, rank: int, size: int) -> np.ndarray:
        begin, end = self._bounds(step)
        low, high = share(end - begin, rank, size)
        return self._order.samples(step // self.steps_per_epoch, begin + low, begin + high)
