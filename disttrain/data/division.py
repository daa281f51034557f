"""How the rows of a global batch are divided among ranks, and into pieces on a rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

__all__ = ["PIECE_ROWS", "Division", "Leaves", "Piece", "Shares", "share"]

# Rows that go through the network at once: a share of a huge global batch is cut into pieces.
PIECE_ROWS = 8192


class Piece(NamedTuple):
    """A part of a rank's rows in a step: rows `low..high-1` of a global batch of `rows`.

    It belongs to the unit (leaf, or share) `unit`, and is its `first` or `last` piece, or both;
    `alone` says that this rank has no other piece in this step.
    """

    low: int
    high: int
    rows: int
    unit: int = 0
    first: bool = True
    last: bool = True
    alone: bool = True


def share(rows: int, rank: int, size: int) -> tuple[int, int]:
    """Return the range of the `rows` of a batch that `rank` of `size` takes; it may be empty."""
    return rows * rank // size, rows * (rank + 1) // size


class Division(ABC):
    """Which rank takes which rows of a global batch: a function of their number and the ranks."""

    accumulate = 1

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def most(self, rows: int) -> int:
        """Return the most rows that go through the network at once, of a batch of `rows`.

        With `accumulate` N it is an N-th of the batch, whatever the ranks.
        """
        return min(PIECE_ROWS, -(-rows // self.accumulate))

    @abstractmethod
    def edges(self, rows: int) -> list[int]:
        """Return where the ranks' ranges of rows begin, and where the last one ends."""

    def unit_edges(self, rows: int) -> list[int]:
        """Return where each rank's units begin, counted over all ranks, and their number."""
        return list(range(self.size + 1))

    @abstractmethod
    def units(self, rows: int) -> list[tuple[int, int, int]]:
        """Return this rank's units as (number, low, high)."""

    def parts(self, rows: int) -> list[Piece]:
        """Return this rank's pieces of a batch of `rows`: at least one, which may be empty."""
        units, most = self.units(rows), max(self.most(rows), 1)
        pieces = []
        for unit, begin, end in units:
            for low in range(begin, max(end, begin + 1), most):
                high = min(low + most, end)
                first, last = low == begin, high == end
                alone = first and last and len(units) == 1
                pieces.append(Piece(low, high, rows, unit, first, last, alone))
        return pieces


class Shares(Division):
    """One share for each rank, as equal as possible."""

    def most(self, rows: int) -> int:
        """Return the most rows at once: an N-th of a share with `accumulate` N."""
        return min(PIECE_ROWS, -(-rows // (self.accumulate * self.size)))

    def edges(self, rows: int) -> list[int]:
        """Return where the shares begin, and where the last one ends."""
        return [rows * rank // self.size for rank in range(self.size + 1)]

    def units(self, rows: int) -> list[tuple[int, int, int]]:
        """Return the share as one unit."""
        return [(0, *share(rows, self.rank, self.size))]


class Leaves(Division):
    """A contiguous range of leaves for each rank; the bounds of leaves do not depend on the ranks.

    A batch has `leaves` leaves, or as many as it has rows; leaves begin at multiples of `grid`
    rows, so some may be empty. With `alone` each leaf is a unit; else all rows of a rank are one.
    """

    def __init__(self, rank: int, size: int, leaves: int, alone: bool, grid: int = 1) -> None:
        super().__init__(rank, size)
        self.leaves, self.alone, self.grid = leaves, alone, grid

    def count(self, rows: int) -> int:
        """Return the number of leaves of a batch."""
        return min(self.leaves, rows)

    def owned(self, rows: int, rank: int) -> tuple[int, int]:
        """Return the range of leaves that `rank` has."""
        return share(self.count(rows), rank, self.size)

    def unit_edges(self, rows: int) -> list[int]:
        """Return where each rank's leaves begin, and the number of leaves."""
        return [*(self.owned(rows, rank)[0] for rank in range(self.size)), self.count(rows)]

    def leaf(self, rows: int, leaf: int) -> tuple[int, int]:
        """Return the range of rows in a leaf."""
        return self._begin(rows, leaf), self._begin(rows, leaf + 1)

    def _begin(self, rows: int, leaf: int) -> int:
        leaves = self.count(rows)
        return rows if leaf == leaves else rows * leaf // leaves // self.grid * self.grid

    def edges(self, rows: int) -> list[int]:
        """Return where the ranks' ranges of rows begin, and where the last one ends."""
        firsts = [self.owned(rows, rank)[0] for rank in range(self.size)]
        return [self._begin(rows, leaf) for leaf in firsts] + [rows]

    def units(self, rows: int) -> list[tuple[int, int, int]]:
        """Return this rank's leaves, or its range of rows."""
        low, high = self.owned(rows, self.rank)
        if self.alone and low < high:
            return [(leaf, *self.leaf(rows, leaf)) for leaf in range(low, high)]
        edges = self.edges(rows)
        return [(low, edges[self.rank], edges[self.rank + 1])]
