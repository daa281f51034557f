"""What a reducer is, and the header that each of them sends."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays import Array, Mirror
from disttrain.data import Piece
from disttrain.model import Pass

__all__ = ["Reducer", "Tally", "Totals", "wait_for"]


class Totals(NamedTuple):
    """The header of a step, summed over ranks.

    `loss` is the summed loss of the global batch, `correct` its rightly classified samples,
    `samples` their number; `failures` and `stop` count the ranks that failed or were asked to stop.
    """

    loss: float = 0.0
    correct: float = 0.0
    samples: float = 0.0
    failures: float = 0.0
    stop: float = 0.0


class Tally:
    """One rank's part of a step's totals, as a header: numbers that are added over ranks.

    The losses of `units` units (leaves) have an element each, and all ranks but one add zero to it.
    So the sum over units, in the order of their numbers, is the same for any number of ranks. The
    other numbers are whole, and exact in any order.
    """

    def __init__(self, units: int) -> None:
        self.units = units
        self._losses: list[tuple[int, Any]] = []
        self._rights: list[Any] = []
        self._samples = 0

    @property
    def length(self) -> int:
        """Numbers in the header."""
        return self.units + len(Totals._fields) - 1

    def add(self, unit: int, loss: Any, right: Any, samples: int) -> None:
        """Count samples: their summed loss and how many are right, which may be on a device."""
        self._losses.append((unit, loss))
        self._rights.append(right)
        self._samples += samples

    def write(self, header: np.ndarray[Any, Any], failed: bool, stop: bool) -> None:
        """Write the header, only `failures = 1` where this rank failed; then clear the tally."""
        header[:] = 0
        if not failed:
            for unit, loss in self._losses:
                header[unit] += float(loss)
            header[self.units] = sum(int(right) for right in self._rights)
            header[self.units + 1] = self._samples
        header[self.units + 2 :] = failed, stop
        self._losses, self._rights, self._samples = [], [], 0

    def read(self, header: np.ndarray[Any, Any]) -> Totals:
        """Return the totals that the sum of all headers states."""
        numbers, loss = header.tolist(), 0.0
        for part in numbers[: self.units]:
            loss += part
        return Totals(loss, *numbers[self.units :])


def wait_for(mirrors: Sequence[Mirror], failed: bool) -> None:
    """Return when the host's side of vectors may be sent, and written to by others.

    Where this rank has failed its device may be lost: then what that says is known already.
    """
    for mirror in mirrors:
        with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
            mirror.wait()


class Reducer(ABC):
    """Sums gradients and header over ranks.

    For each part of a step `open` returns its pass, which writes gradients into memory of the
    reducer's; `add` takes the part in. `sum_gradients` completes the sum over ranks and leaves it
    in `totals`. `way` says how: "none", "window", "allreduce", ...; `tally` makes the header.
    `tiles` of a small product are computed in one call, where they have the same bits.
    """

    way: str
    tally: Tally
    tiles = 1

    @property
    @abstractmethod
    def totals(self) -> Array:
        """The sums over all ranks, after `sum_gradients`."""

    @abstractmethod
    def open(self, step: int, piece: Piece) -> Pass:
        """Return the pass for a piece of the global batch of `step`."""

    @abstractmethod
    def add(self, piece: Piece, loss: Array, right: Any) -> None:
        """Add a piece: `loss` is that of each of its samples, `right` how many are classified."""

    @abstractmethod
    def sum_gradients(self, rows: int, failed: bool, stop: bool) -> Totals:
        """Complete the sum of a global batch of `rows` and return the header's. Collective.

        A rank that failed takes part like all others: with zeros, and `failures = 1`.
        """
