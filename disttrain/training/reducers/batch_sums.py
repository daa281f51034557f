"""Sums over the global batch that layers ask for in the middle of a step (batch normalization)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disttrain.arrays import Array
from disttrain.comm import Communicator
from disttrain.data import Division

__all__ = ["PHASE", "BatchSums"]

PHASE = "waiting for the sums of a layer over the batch"


class BatchSums:
    """One round for each layer that asks, forward and then backward; all ranks do all rounds.

    Each unit (leaf, or share) has a row for its sums, and every rank adds the rows in their order:
    so in exact mode the totals have the same bits on any number of ranks. A rank that fails does
    the rounds that are left with zeros (`abandon`), so that none waits for it. `rows` is the size
    of the largest batch, `widths` are how many sums each round has.
    """

    def __init__(
        self, comm: Communicator, division: Division, rows: int, widths: Sequence[int]
    ) -> None:
        self._comm, self.division = comm, division
        most = division.unit_edges(rows)[-1]
        # Each round has an array of its own: it is written again only after the step's own sum.
        self.gathers = [comm.all_gather([(most, width)], ["f8"]) for width in widths]
        self._edges: list[int] = []
        self._round = 0

    def begin(self, rows: int) -> None:
        """Begin a step, of a global batch of `rows`."""
        self._edges, self._round = self.division.unit_edges(rows), 0

    def sum(self, parts: Sequence[Array]) -> Array:
        """Return the sum over all units; `parts` are those of this rank's, in order. Collective."""
        gather, rank = self.gathers[self._round], self._comm.rank
        (array,) = gather.arrays
        first, end = self._edges[rank], self._edges[rank + 1]
        for row, part in zip(range(first, end), parts, strict=False):
            array[row] = part
        self._round += 1
        before = self._comm.watch.current
        self._comm.phase(PHASE)
        gather.complete([self._edges])
        self._comm.phase(before)
        total = np.zeros(array.shape[1])
        for row in array[: self._edges[-1]]:
            total += row
        return total

    def abandon(self) -> None:
        """Do the rounds of this step that are left, with zeros. Collective."""
        while self._round < len(self.gathers):
            width = self.gathers[self._round].arrays[0].shape[1]
            self.sum([np.zeros(width)] * self._edges[-1])
