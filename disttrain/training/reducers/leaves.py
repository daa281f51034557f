"""Exact mode, any layers: gradients of leaves, added in the order of a fixed tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.comm import Communicator, folding, subtrees
from disttrain.data import Leaves, Piece
from disttrain.model import Network, Pass
from disttrain.training.reducers.base import Reducer, Tally, Totals, wait_for

__all__ = ["LeafReducer"]


class LeafReducer(Reducer):
    """Computes each leaf alone, always with the same shapes, and adds leaves by their tree.

    The pass of a leaf writes its gradients into one of several flat vectors; the first of these are
    the messages to the other ranks. `division` gives each rank its leaves, `sizes` are the numbers
    of rows that a global batch can have. Leaves whose passes are under way at once (`apart`) need a
    vector each.
    """

    def __init__(
        self, comm: Communicator, network: Network, division: Leaves, sizes: Sequence[int],
        apart: bool = False,
    ) -> None:  # fmt: skip
        self._comm, self.division, self._device = comm, division, network.device
        self.tally = Tally(division.leaves)
        rows_of = {division.count(rows): rows for rows in sizes}

        def held(leaves: int) -> list[list[tuple[int, int]]]:
            """Return the subtrees whose sums each rank sends."""
            owned = [division.owned(rows_of[leaves], rank) for rank in range(comm.size)]
            return [subtrees(low, high, leaves) for low, high in owned]

        self._subtrees = {leaves: len(held(leaves)[comm.rank]) for leaves in rows_of}
        self._folding = {
            leaves: folding(*division.owned(rows, comm.rank), leaves, apart)
            for leaves, rows in rows_of.items()
        }
        width = max(len(mine) for leaves in rows_of for mine in held(leaves))
        length, device = network.layout.length, network.device
        self.sum = comm.leaf_summation(held, width, length, network.dtype, self.tally.length)
        self.way = self.sum.way
        self._out = [device.mirror(message) for message in self.sum.messages]
        self._back = self._out[0] if self.way == "none" else device.mirror(self.sum.total)
        last = max([width - 1, *(number for plan in self._folding.values() for number, _ in plan)])
        # One vector more, for the second and later parts of a leaf that is cut into several.
        scratch = [np.zeros(length, network.dtype) for _ in range(last + 2 - width)]
        self.vectors = [mirror.array for mirror in self._out] + [device.put(s) for s in scratch]
        self.gradients = [network.layout.views(vector) for vector in self.vectors]

    @property
    def totals(self) -> Array:
        """The sums over all leaves, after `sum_gradients`."""
        return self._back.array

    def plan(self, piece: Piece) -> tuple[int, list[tuple[int, int]]]:
        """Return the number of a leaf's vector and the additions that follow it."""
        leaves = self.division.count(piece.rows)
        low, _ = self.division.owned(piece.rows, self._comm.rank)
        return self._folding[leaves][piece.unit - low]

    def open(self, step: int, piece: Piece) -> Pass:
        """Return the pass, which writes into the leaf's vector, or into one that is added to it."""
        first = piece.first and piece.low < piece.high
        number = self.plan(piece)[0] if first else -1
        return Pass(True, step, piece.low, self.gradients[number])

    def add(self, piece: Piece, loss: Array, right: Any) -> None:
        """Take in a part of a leaf; after its last one add what the tree says."""
        if piece.low == piece.high:
            return
        self.tally.add(piece.unit, self._device.total(loss), right, piece.high - piece.low)
        number, additions = self.plan(piece)
        if not piece.first:
            self.vectors[number] += self.vectors[-1]
        if piece.last:
            for to, other in additions:
                self.vectors[to] += self.vectors[other]

    def sum_gradients(self, rows: int, failed: bool, stop: bool) -> Totals:
        """Send the sums of this rank's subtrees and complete the tree with those of the others."""
        leaves = self.division.count(rows)
        for mirror in self._out[: self._subtrees[leaves]]:
            if failed:
                mirror.host[:] = 0
            elif self.way != "none":
                mirror.leave(0, len(mirror.host))
        self.tally.write(self.sum.header, failed, stop)
        wait_for([*self._out, self._back], failed)
        self._comm.phase("waiting for the sum of gradients")
        self.sum.finish(leaves)
        if self.way != "none" and not failed:
            self._back.arrive()
        return self.tally.read(self.sum.total_header)
