"""Bringing inputs to a common scale with statistics of the training data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from disttrain.arrays import Cpu
from disttrain.comm import Communicator
from disttrain.data.source import Rows
from disttrain.errors import DataError

__all__ = ["Normalization", "measure"]

# The training rows are cut into at most this many segments; one rank sums a segment, in the order
# of its rows, and all ranks add the segments in their order: the same bits on any number of ranks.
SEGMENTS = 64
BLOCK_ROWS = 1024
# What uint8 is divided by before all else.
DIVISOR = 255.0


@dataclass(frozen=True)
class Normalization:
    """`x = (raw / divisor - mean) / deviation`.

    `divisor` is 255 for uint8 and 1 otherwise; `mean` and `deviation` have one number per input
    (float64). A feature whose deviation is 0 becomes 0.
    """

    kind: str
    divisor: float
    mean: np.ndarray
    deviation: np.ndarray
    _cache: dict[np.dtype, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: `Normalization(**facts)` is the same again."""
        return {k: getattr(self, k) for k in ("kind", "divisor", "mean", "deviation")}

    def apply(
        self, stored: np.ndarray, places: np.ndarray, raw: np.ndarray, out: np.ndarray
    ) -> None:
        """Write the normalized rows `stored[places]` to `out`; `raw` is scratch of stored's type.

        uint8 in one multiply-add of out's dtype; other types subtract the mean in float64 first,
        because float32 keeps little of a small spread around a large mean.
        """
        scale, shift = self._factors(out.dtype)
        if self.divisor == DIVISOR:
            Cpu.kernels.gather(stored, places, scale, shift, raw, out)
        else:
            np.take(stored, places, axis=0, out=raw, mode="clip")
            np.multiply(raw - self.mean, scale, out=out, casting="unsafe")

    def _factors(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Return `scale` and `shift` with `x = raw * scale + shift`, in `dtype`."""
        if dtype not in self._cache:
            varies = self.deviation > 0
            inverse = np.divide(1, self.deviation, out=np.zeros_like(self.mean), where=varies)
            scale = (inverse / self.divisor).astype(dtype)
            self._cache[dtype] = scale, (-self.mean * inverse).astype(dtype)
        return self._cache[dtype]

    def refuse_other_type(self, dtype: np.dtype) -> None:
        """Raise DataError for inputs that would be scaled otherwise than those of the training."""
        if (dtype == np.uint8) != (self.divisor == DIVISOR):
            trained = "uint8 (0-255)" if self.divisor == DIVISOR else "not uint8"
            raise DataError(
                f"the inputs are {dtype}, but those of the training were {trained}: give them in "
                "the same type"
            )


def measure(kind: str, rows: Rows, comm: Communicator) -> Normalization:
    """Return the normalization that `kind` names, measured on `rows` (the training rows).

    "none" only divides uint8 by 255; "mean-image" subtracts the mean of each input; "standardize"
    also divides by the standard deviation, from squared distances to the mean (two passes over the
    data, float64). Collective.
    """
    divisor = DIVISOR if rows.dtype == np.uint8 else 1.0
    mean, deviation = np.zeros(rows.inputs), np.ones(rows.inputs)
    if kind != "none":
        mean = _sum(rows, comm, None, "mean") / (rows.count * divisor)
    if kind == "standardize":
        squares = _sum(rows, comm, mean * divisor, "deviation") / (rows.count * divisor**2)
        deviation = np.sqrt(squares)
        # What rounding leaves of a constant feature is not a deviation.
        deviation[deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = 0.0
    return Normalization(kind, divisor, mean, deviation)


def _sum(rows: Rows, comm: Communicator, center: np.ndarray | None, what: str) -> np.ndarray:
    """Return the sum over rows of each input, or of its squared distance to `center`."""
    segments = min(SEGMENTS, -(-rows.count // BLOCK_ROWS))
    cuts = [rows.count * s // segments for s in range(segments + 1)]
    mine, phase = {}, f"computing the {what} of the training data"
    with comm.together(phase):
        for segment in range(comm.rank, segments, comm.size):
            total = np.zeros(rows.inputs)
            for low in range(cuts[segment], cuts[segment + 1], BLOCK_ROWS):
                comm.phase(phase)
                high = min(low + BLOCK_ROWS, cuts[segment + 1])
                stored, places = rows.locate(np.arange(low, high))
                block = stored[places].astype(np.float64)
                if center is not None:
                    block = np.square(np.subtract(block, center, out=block), out=block)
                total += block.sum(axis=0)
            mine[segment] = total
    everyone: dict[int, np.ndarray] = {}
    for part in comm.collect(mine):
        everyone.update(part)
    total = np.zeros(rows.inputs)
    for segment in range(segments):
        total += everyone[segment]
    return total
