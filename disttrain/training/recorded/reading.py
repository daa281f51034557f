"""Noting how samples become inputs and targets: by C where rows lie in memory as uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.arrays.recording import Block, NotRecordable, Program
from disttrain.data import ArrayRows, Feed, Split
from disttrain.data.source import SharedRows

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["Reading"]

Array = np.ndarray[Any, Any]


class Reading:
    """The reading of `rows` samples of a split: `inputs` and `targets` are the arrays they go to.

    `training`: samples are augmented. Raises NotRecordable for targets of a type that is not
    recorded.
    """

    def __init__(
        self, program: Program, run: Run, split: Split, rows: int, training: bool = True
    ) -> None:
        self._split, dtype = split, np.dtype(run.network.dtype)
        source, targets = split.rows, split.targets
        if targets.dtype not in (np.int64, np.float64) or not targets.flags.c_contiguous:
            raise NotRecordable("the targets have a type or an order that is not recorded")
        if run.feed.scale:
            targets = run.feed.scale.apply(targets)
        augmentation = run.feed.augmentation if training else None
        scale, shift = run.normalization.factors(dtype)
        self._feed: Feed | None = None
        self._inputs, stored = np.empty((rows, source.inputs), dtype), None
        if (
            type(source) in (ArrayRows, SharedRows)
            and source.dtype == np.uint8
            and run.normalization.pixels
            and scale.dtype == dtype
            and augmentation is None
        ):
            stored, _ = source.locate(np.empty(0, np.int64))
        if stored is not None and stored.flags.c_contiguous:
            program.gather(stored, scale, shift, self._inputs)
        else:
            self._feed = Feed(run.normalization, (source.inputs,), run.network.dtype,
                              run.network.device)  # fmt: skip
            self._feed.augmentation = augmentation
        self.inputs = self._inputs.reshape(rows, *run.network.shapes[0])
        self.targets = self._inputs
        if not run.feed.reconstructs:
            kind = np.int64 if targets.dtype == np.int64 else dtype
            self.targets = np.empty((rows, *targets.shape[1:]), kind)
            program.take(targets, self.targets)

    def prepare(self, block: Block, samples: Array, epoch: int | None) -> None:
        """Say which samples are read; read what C does not read."""
        self._samples = samples
        if self._feed is not None:
            # An overflow is reported once, by the check of the loss.
            with np.errstate(over="ignore", invalid="ignore"):
                inputs, _ = self._feed(self._split, samples, epoch)
            np.copyto(self._inputs, inputs)
        block.samples = samples.__array_interface__["data"][0]
