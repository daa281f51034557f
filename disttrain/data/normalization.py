"""Bringing inputs to a common scale with statistics of the training data alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    (float64); for "range" they are the least value and the width. A feature whose deviation is 0
    becomes 0.
    """

    kind: str
    divisor: float
    mean: np.ndarray
    deviation: np.ndarray
    _cache: dict[np.dtype, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def pixels(self) -> bool:
        """True where inputs are uint8."""
        return self.divisor == DIVISOR

    @property
    def in_unit_range(self) -> bool:
        """True where what was measured lies between 0 and 1."""
        return self.kind == "range" or (self.kind == "none" and self.pixels)

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
        scale, shift = self.factors(out.dtype)
        if self.divisor == DIVISOR:
            Cpu.kernels.gather(stored, places, scale, shift, raw, out)
        else:
            np.take(stored, places, axis=0, out=raw, mode="clip")
            np.multiply(raw - self.mean, scale, out=out, casting="unsafe")

    def factors(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Return `scale` and `shift` with `x = raw * scale + shift`, in `dtype`."""
        if dtype not in self._cache:
            varies = self.deviation > 0
            inverse = np.divide(1, self.deviation, out=np.zeros_like(self.mean), where=varies)
            exact = inverse / self.divisor
            with np.errstate(over="ignore"):
                scale, shift = exact.astype(dtype), (-self.mean * inverse).astype(dtype)
            # Of inputs around 1e160 the factor is 0 in float32, and that of 1e-160 infinite.
            normal = np.isfinite(scale) & ((scale >= np.finfo(dtype).tiny) | (exact == 0))
            self._cache[dtype] = scale if normal.all() else exact, shift
        return self._cache[dtype]

    def refuse_other_type(self, dtype: np.dtype) -> None:
        """Raise DataError for inputs of a type that is scaled otherwise than in the training."""
        if (dtype == np.uint8) != self.pixels:
            trained = "uint8 (0-255)" if self.pixels else "not uint8"
            raise DataError(
                f"the inputs are {dtype}, but those of the training were {trained}: give them in "
                "the same type"
            )


def measure(kind: str, rows: Rows, comm: Communicator) -> Normalization:
    """Return the normalization that `kind` names, measured on `rows` (the training rows).

    "auto" is "mean-image" for uint8 and else "standardize". "none" only divides uint8 by 255;
    "mean-image" subtracts the mean of each input; "standardize" also divides by the standard
    deviation, from squared distances to the mean (two passes over the data, float64); "range"
    brings the least value of each input to 0 and the greatest to 1.
    Collective.
    """
    divisor = DIVISOR if rows.dtype == np.uint8 else 1.0
    if kind == "auto":
        kind = "mean-image" if divisor == DIVISOR else "standardize"
    mean, deviation = np.zeros(rows.inputs), np.ones(rows.inputs)
    if kind in ("mean-image", "standardize"):
        total = _fold(rows, comm, "mean", lambda block: block.sum(axis=0), np.add)
        mean = total / (rows.count * divisor)
    if kind == "standardize":
        deviation = _deviation(rows, comm, mean * divisor) / divisor
        # A constant feature has deviation 0, but for rounding.
        deviation[deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = 0.0
    if kind == "range":
        mean = _fold(rows, comm, "minimum", lambda b: b.min(axis=0), np.minimum) / divisor
        most = _fold(rows, comm, "maximum", lambda b: b.max(axis=0), np.maximum) / divisor
        with np.errstate(over="ignore"):
            deviation = most - mean
    with comm.together("normalizing"):
        bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(deviation)))
        if len(bad):
            raise DataError(
                f"number {bad[0]} of the inputs is so large that its mean or spread is beyond "
                "float64: divide it by a power of ten and prepare the data again"
            )
    return Normalization(kind, divisor, mean, deviation)


def _deviation(rows: Rows, comm: Communicator, center: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared distance to `center`, of each input as it is stored."""

    def measured(unit: np.ndarray) -> np.ndarray:
        """Return the deviation, computed in multiples of `unit` so that no square overflows."""
        squares = _fold(
            rows, comm, "deviation",
            lambda block: np.square((block - center) / unit).sum(axis=0), np.add,
        )  # fmt: skip
        return np.asarray(unit * np.sqrt(squares / rows.count))

    deviation = measured(np.ones(rows.inputs))
    odd = (deviation == 0) | ~np.isfinite(deviation)
    if rows.dtype == np.float64 and odd.any():
        # Squares of 1e160 are infinite and those of 1e-170 zero: count in units near the largest.
        largest = _fold(rows, comm, "spread", lambda b: np.abs(b - center).max(axis=0), np.maximum)
        odd &= (largest > 0) & np.isfinite(largest)
        if odd.any():
            deviation = measured(np.exp2(np.floor(np.log2(np.where(odd, largest, 1.0)))))
    return deviation


def _fold(
    rows: Rows,
    comm: Communicator,
    what: str,
    of_block: Callable[[np.ndarray], np.ndarray],
    combine: np.ufunc,
) -> np.ndarray:
    """Return a number for each input: `of_block` of blocks of rows, combined in their order."""
    segments = min(SEGMENTS, -(-rows.count // BLOCK_ROWS))
    cuts = [rows.count * s // segments for s in range(segments + 1)]
    mine, phase = {}, f"computing the {what} of the training data"
    with comm.together(phase):
        for segment in range(comm.rank, segments, comm.size):
            parts = []
            for low in range(cuts[segment], cuts[segment + 1], BLOCK_ROWS):
                comm.phase(phase)
                high = min(low + BLOCK_ROWS, cuts[segment + 1])
                stored, places = rows.locate(np.arange(low, high))
                with np.errstate(over="ignore", invalid="ignore"):
                    parts.append(of_block(stored[places].astype(np.float64)))
            mine[segment] = functools.reduce(combine, parts)
    everyone: dict[int, np.ndarray] = {}
    for part in comm.collect(mine):
        everyone.update(part)
    total: np.ndarray = functools.reduce(combine, [everyone[s] for s in range(segments)])
    return total
