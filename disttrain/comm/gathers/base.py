"""An all-gather of rows: each rank writes some rows of an array, then every rank has all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["AllGather", "AloneGather"]


class AllGather(ABC):
    """Several `arrays`, each with rows along its first axis.

    A round is: every rank writes its rows of each array, all call `complete`, and then every rank
    may read all rows. Between two rounds of the same arrays all ranks must have met in another
    collective call: a rank that is ahead would else write over rows that are still read.
    """

    arrays: list[np.ndarray[Any, Any]]

    @abstractmethod
    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Complete the round: afterwards every rank has all rows. Collective.

        Rank `r` has written `arrays[n][edges[n][r] : edges[n][r + 1]]`; rows behind the last edge
        belong to no rank and stay as they are.
        """


class AloneGather(AllGather):
    """The arrays of one rank."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> None:
        self.arrays = [np.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)]

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Do nothing: this rank has written all rows."""
