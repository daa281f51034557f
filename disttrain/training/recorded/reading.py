"""Noting how samples become inputs and targets: by C where rows lie in memory as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.arrays.recording import Block, NotRecordable, Program
from disttrain.data import PIECE_ROWS, ArrayRows, Feed, Normalization, Split
from disttrain.data.source import PickedRows, Rows, SharedRows, StreamedRows
from disttrain.model import Perceptron

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["Reading"]

Array = np.ndarray[Any, Any]
# Notes that inputs from one place in this rank's samples on are written to an array.
Note = Callable[[int, Array], None]


class Reading:
    """The reading of `rows` samples of a split, `at_once` of them or fewer at a time.

    `whole` says that all are read before the first part is used; then the inputs are written `into`
    an array, if it is given. `training`: samples are augmented.
    Raises NotRecordable for targets of a type that is not recorded.
    """

    def __init__(
        self, program: Program, run: Run, split: Split, rows: int, at_once: int,
        into: Array | None = None, training: bool = True,
    ) -> None:  # fmt: skip
        self._program, self._split, dtype = program, split, np.dtype(run.network.dtype)
        source, targets = split.rows, split.targets
        if targets.dtype not in (np.int64, np.float64) or not targets.flags.c_contiguous:
            raise NotRecordable("the targets have a type or an order that is not recorded")
        if targets.dtype == np.int64 and not reads_classes(run, targets):
            raise NotRecordable("there are classes without an output")
        self._targets, self._scale = targets, run.feed.scale
        augmentation = run.feed.augmentation if training else None
        self._feed: Feed | None = None
        self._note, self._addressed = (
            (None, False) if augmentation else reader(program, run.normalization, source, dtype)
        )
        if self._note is None:
            self._feed = Feed(run.normalization, (source.inputs,), run.network.dtype,
                              run.network.device)  # fmt: skip
            self._feed.augmentation = augmentation
            if rows > PIECE_ROWS:
                raise NotRecordable("more rows than go through at once are read by Python")
            at_once = rows
        self._flat = np.empty((at_once, source.inputs), dtype)
        if into is not None and into.shape == self._flat.shape:
            self._flat = into
        self._inputs = self._flat.reshape(at_once, *run.network.shapes[0])
        self._taken = self._flat
        if not run.feed.reconstructs:
            kind = np.int64 if targets.dtype == np.int64 else dtype
            self._taken = np.empty((at_once, *targets.shape[1:]), kind)
        self.whole = at_once == rows
        if rows and self.whole:
            self._read(0, rows)

    def _read(self, low: int, rows: int) -> None:
        """Note the reading of so many rows from place `low` on."""
        if self._note is not None:
            self._note(low, self._flat[:rows])
        if self._taken is not self._flat:
            sizes = rows, self._taken[:1].size, low
            if self._scale:
                # As `TargetScale.apply`, which would copy the targets of all samples.
                scale = self._scale.mean, self._scale.deviation
                self._program.note("take_scaled", (self._targets, *scale, self._taken), sizes)
                return
            name = "take_classes" if self._targets.dtype == np.int64 else "take_numbers"
            self._program.note(name, (self._targets, self._taken), sizes)

    def part(self, low: int, high: int) -> tuple[Array, Array]:
        """Return inputs and targets of rows `low..high-1`; note their reading, if not done yet."""
        if not self.whole:
            self._read(low, high - low)
            low, high = 0, high - low
        return self._inputs[low:high], self._taken[low:high]

    def prepare(self, block: Block, samples: Array, epoch: int | None) -> None:
        """Say which samples are read; read what C does not read."""
        self._samples = samples
        if self._addressed:
            addresses = self._split.rows.addresses(samples)
            assert addresses is not None
            self._addresses = addresses
            block.rows = addresses.__array_interface__["data"][0]
        if self._feed is not None and len(samples):
            # An overflow is reported once, by the check of the loss.
            with np.errstate(over="ignore", invalid="ignore"):
                inputs, _ = self._feed(self._split, samples, epoch)
            np.copyto(self._flat, inputs)
        block.samples = samples.__array_interface__["data"][0]


def reads_classes(run: Run, classes: Array) -> bool:
    """Return whether the outputs of the network, which C counts by these classes, are that many."""
    if run.feed.reconstructs or isinstance(run.loss, Perceptron) or not len(classes):
        return True
    return bool(classes.min() >= 0 and classes.max() < run.network.outputs)


def reader(
    program: Program, normalization: Normalization, rows: Rows, dtype: np.dtype[Any]
) -> tuple[Note | None, bool]:
    """Return what notes the reading of rows, and whether it needs addresses; None: Python reads."""
    scale, shift = normalization.factors(dtype)
    nothing, kind = np.empty(0, np.int64), rows.dtype.newbyteorder("=")
    if type(rows) not in (ArrayRows, SharedRows, StreamedRows, PickedRows):
        return None, False
    if kind == np.uint8 and normalization.pixels and scale.dtype == dtype:
        stored, _ = rows.locate(nothing)
        if type(rows) in (ArrayRows, SharedRows) and stored.flags.c_contiguous:

            def gather(first: int, out: Array) -> None:
                """Note that C finds the rows by their numbers."""
                program.note("gather", (stored, scale, shift, out), (*out.shape, first))

            return gather, False
    elif kind in (np.float32, np.float64) and not normalization.pixels:
        # The difference is computed in float64, and so is the product.
        scale, shift = scale.astype("f8"), np.ascontiguousarray(normalization.mean, "f8")
    else:
        return None, False

    def read(first: int, out: Array) -> None:
        """Note that C finds the rows by their addresses."""
        program.note("read_rows", (scale, shift, out), (*out.shape, first, kind.itemsize))

    return (None, False) if rows.addresses(nothing) is None else (read, True)
