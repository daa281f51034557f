"""Sums over the global batch that layers ask for, between the parts of a captured step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from disttrain.training.reducers import BatchSums

__all__ = ["CapturedRounds"]

Array = Any


class CapturedRounds:
    """Notes `BatchSums.sum` on several ranks: each call is the next round.

    A part of the program ends with a copy of this rank's sums to the host; `behind` says what the
    host does then, by the number of the part; the next part begins with the copy of the total.
    """

    def __init__(self, program: Any, device: Any, sums: BatchSums) -> None:
        self._program, self._device, self._sums = program, device, sums
        self.behind: dict[int, Callable[[], None]] = {}

    def __call__(self, parts: Sequence[Array]) -> Array:
        """Return where the sums over all units will be; `parts` are where those of this rank's."""
        program, shape = self._program, (len(parts), parts[0].size)
        own = self._device.empty_host(shape, np.float64)
        total = self._device.empty_host(shape[1:], np.float64)
        for row, part in zip(own, parts, strict=True):
            program.copy(row, part)
        self.behind[program.pause() - 1] = partial(self._sum, own, total)
        found = self._device.empty(shape[1:], "f8")
        program.copy(found, total)
        return found

    def _sum(self, own: np.ndarray, total: np.ndarray) -> None:
        """Add the sums of all ranks. Collective."""
        total[...] = self._sums.sum(list(own))
