"""Arrays that ranks fill together: each writes its rows, then all see all rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["AloneMosaic", "Mosaic"]


class Mosaic(ABC):
    """Several `arrays`, each with rows along its first axis.

    A round is: every rank writes its rows of each array, all call `complete`, and then every rank
    may read all rows. Between two rounds with the same mosaic all ranks must have met in another
    collective call: a rank that is ahead would else write over rows that are still read.
    """

    arrays: list[np.ndarray[Any, Any]]

    @abstractmethod
    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Make all rows known to all. Collective.

        Rank `r` has written `arrays[n][edges[n][r] : edges[n][r + 1]]`; rows behind the last edge
        are nobody's.
        """

    def close(self) -> None:  # noqa: B027 - most kinds hold nothing
        """Give back what the arrays lie in. Collective."""


class AloneMosaic(Mosaic):
    """The arrays of one rank."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> None:
        self.arrays = [np.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)]

    def complete(self, edges: Sequence[Sequence[int]]) -> None:
        """Do nothing: this rank has written all rows."""
