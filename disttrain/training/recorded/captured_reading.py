"""How samples become arrays on a GPU, inside a captured graph or before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.arrays.recording import NotRecordable
from disttrain.data import PIECE_ROWS, ArrayRows, Split
from disttrain.data.source import SharedRows
from disttrain.training.recorded.reading import reads_classes

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["Reading", "Resident"]

Array = Any
# The part of the GPU's free memory that the rows of a split may take, of all ranks that use it.
ROOM = 0.5


class Resident:
    """What lies on the GPU of a run's splits, once for all its recordings."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows: dict[int, tuple[Array, Array] | None] = {}
        self._weights: dict[int, Array] = {}

    def rows(self, split: Split) -> tuple[Array, Array] | None:
        """Return rows of uint8 and their targets, copied here where they fit; None: they do not."""
        if id(split) not in self._rows:
            self._rows[id(split)] = self._put(split)
        return self._rows[id(split)]

    def _put(self, split: Split) -> tuple[Array, Array] | None:
        device, comm, scale = self._run.network.device, self._run.comm, self._run.feed.scale
        stored, _ = split.rows.locate(np.empty(0, np.int64))
        sharing = device.ranks_sharing(comm.host_size)
        if stored.nbytes + split.targets.nbytes > ROOM * device.free_memory() / sharing:
            return None
        targets = scale.apply(split.targets) if scale else split.targets
        try:
            both = stored, targets
            rows, numbers = (device.put(np.ascontiguousarray(array)) for array in both)
        except MemoryError:  # other programs use this GPU too
            return None
        return rows, numbers

    def weights(self, split: Split) -> Array | None:
        """Return the weights of all samples of a split, where they have some."""
        if split.weights is None:
            return None
        if id(split) not in self._weights:
            self._weights[id(split)] = self._run.network.device.put(split.weights)
        return self._weights[id(split)]


class Reading:
    """The reading of `rows` samples of a split, `at_once` of them or fewer at a time.

    uint8 rows and targets that fit lie on the GPU, and the graph gathers them; other rows are read
    and normalized on the host and copied before the step. `training`: samples are augmented.
    Raises NotRecordable for targets of a type that is not recorded.
    """

    def __init__(
        self, program: Any, run: Run, split: Split, rows: int, at_once: int, resident: Resident,
        training: bool = True,
    ) -> None:  # fmt: skip
        self._program, self._split, self._feed = program, split, None
        network, targets, source = run.network, split.targets, split.rows
        device, dtype = network.device, np.dtype(network.dtype)
        if targets.dtype not in (np.int64, np.float64):
            raise NotRecordable("the targets have a type that is not recorded")
        if targets.dtype == np.int64 and not reads_classes(run, targets):
            raise NotRecordable("there are classes without an output")
        self._factors = scale, _ = run.normalization.factors(dtype)
        stays = (
            type(source) in (ArrayRows, SharedRows) and source.dtype == np.uint8
            and run.normalization.pixels and scale.dtype == dtype
            and not (training and run.feed.augmentation)
        )  # fmt: skip
        self._stored = resident.rows(split) if stays else None
        if self._stored is None:
            self._feed, at_once = run.feed, rows
            if rows > PIECE_ROWS:
                raise NotRecordable("more rows than go through at once are read by Python")
        self._flat: Array = device.empty((at_once, source.inputs), dtype)
        self._inputs = self._flat.reshape(at_once, *network.shapes[0])
        self._taken = self._flat
        if not run.feed.reconstructs:
            kind = np.dtype("i8") if targets.dtype == np.int64 else dtype
            self._taken = device.empty((at_once, *targets.shape[1:]), kind)
        self._whole = at_once == rows
        if self._whole:
            self._read(0, rows)

    def _read(self, low: int, rows: int) -> None:
        """Note the reading of so many rows from place `low` on."""
        if self._stored is None:
            return
        stored, targets = self._stored
        self._program.gather(stored, *self._factors, self._flat[:rows], low)
        if self._taken is not self._flat:
            self._program.take(targets, self._taken[:rows], low)

    def part(self, low: int, high: int) -> tuple[Array, Array]:
        """Return inputs and targets of rows `low..high-1`; note their reading, if not done yet."""
        if not self._whole:
            self._read(low, high - low)
            low, high = 0, high - low
        return self._inputs[low:high], self._taken[low:high]

    def prepare(self, samples: np.ndarray, epoch: int | None) -> None:
        """Say which samples are read; read what does not lie on the GPU."""
        self._program.samples[...] = samples
        if self._feed is None:
            return
        # An overflow is reported once, by the check of the loss.
        with np.errstate(over="ignore", invalid="ignore"):
            inputs, targets = self._feed(self._split, samples, epoch)
        self._inputs[...] = inputs
        if self._taken is not self._flat:
            self._taken[...] = targets.reshape(self._taken.shape)
