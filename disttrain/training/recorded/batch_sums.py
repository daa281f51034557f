"""Noting the sums over the global batch that layers ask for, round by round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disttrain.arrays import Array
from disttrain.arrays.recording import Program
from disttrain.training.recorded.sums import Notes
from disttrain.training.reducers.batch_sums import PHASE, BatchSums

__all__ = ["Rounds"]


class Rounds:
    """Notes `BatchSums.sum`, for a global batch of `rows`: each call is the next round."""

    def __init__(self, program: Program, notes: Notes, sums: BatchSums, rows: int) -> None:
        self._program, self._notes = program, notes
        self._all, self._gathers = sums.gathers, iter(sums.gathers)
        self._edges, self._rank = sums.division.unit_edges(rows), sums.division.rank

    def __call__(self, parts: Sequence[Array]) -> Array:
        """Return where the sums over all units will be; `parts` are where those of this rank's."""
        program, notes, gather, edges = self._program, self._notes, next(self._gathers), self._edges
        _, word, phase = notes.parts[-1]
        (array,) = gather.arrays
        for row, part in enumerate(parts, edges[self._rank]):
            program.copy(array[row], part)
        notes.gather(gather, [edges], PHASE)
        notes.part(word, phase)
        total = np.zeros(array.shape[1])
        program.sum_headers(array[: edges[-1]], total)
        return total

    def nothing(self) -> None:
        """Note all rounds of a rank without rows, with zeros."""
        units = self._edges[self._rank + 1] - self._edges[self._rank]
        for gather in self._all:
            self([np.zeros(gather.arrays[0].shape[1])] * units)
