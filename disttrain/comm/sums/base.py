"""The sum over ranks of flat messages and headers: two interfaces, several ways behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disttrain.comm.sums.tree import Subtree

__all__ = ["AloneLeaves", "Held", "LeafSum", "NoSum", "Sum", "Vector"]

Vector = np.ndarray[Any, Any]
# From the number of leaves of a batch to the subtrees that each rank brings.
Held = Callable[[int], Sequence[Sequence[Subtree]]]


class Sum(ABC):
    """Adds `message` and `header` over all ranks, once a step.

    A step writes this rank's part into `message` (host memory, the run's dtype) and `header`
    (float64), may call `start(end)` when `message[:end]` is complete, and calls `finish()` once.
    Then `total` and `total_header` hold the sums, on every rank the same bits, until the next
    `finish`. `total` may be `message` itself.

    `cuts` are the ends of the buckets in which a message may be sent. They are set once, alike on
    every rank, so that all ranks send the same buckets even if one of them fails in a step.
    """

    way: str
    message: Vector
    header: Vector
    total: Vector
    total_header: Vector
    cuts: Sequence[int] = ()

    def start(self, end: int) -> None:  # noqa: B027 - most ways send all at the end
        """Send the buckets of `message[:end]`, which is complete."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the sum: the only place of a step where ranks wait for each other."""


class NoSum(Sum):
    """The sum over one rank."""

    def __init__(self, length: int, dtype: Any, header: int) -> None:
        self.way = "none"
        self.message = self.total = np.zeros(length, dtype)
        self.header = self.total_header = np.zeros(header)

    def finish(self) -> None:
        """Do nothing: what one rank has is the sum."""


class LeafSum(ABC):
    """Completes the tree over the subtrees of all ranks, once a step.

    A step writes the sum of this rank's subtree number `n` into `messages[n]` (host memory, the
    run's dtype) and its part of `header` (float64, at places that no other rank fills with
    anything but whole numbers), then calls `finish(leaves)`. `total` and `total_header` hold the
    sums until the next `finish`; `total` may be `messages[0]` itself.
    """

    way: str
    messages: np.ndarray[Any, Any]
    header: Vector
    total: Vector
    total_header: Vector

    @abstractmethod
    def finish(self, leaves: int) -> None:
        """Complete the sum of a batch of `leaves` leaves: all ranks wait for each other."""


class AloneLeaves(LeafSum):
    """The sum of one rank: it has the whole tree, as its only subtree."""

    def __init__(self, length: int, dtype: Any, header: int) -> None:
        self.way = "none"
        self.messages = np.zeros((1, length), dtype)
        self.total = self.messages[0]
        self.header = self.total_header = np.zeros(header)

    def finish(self, leaves: int) -> None:
        """Do nothing: the only subtree is the sum."""
