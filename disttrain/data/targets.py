"""Bringing targets that are numbers to a common scale, and outputs back to the targets' units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["TargetScale", "measure_targets"]


@dataclass(frozen=True)
class TargetScale:
    """The network is trained on `(y - mean) / deviation`, both with a number for each output."""

    mean: np.ndarray
    deviation: np.ndarray

    @property
    def loss_units(self) -> np.ndarray:
        """What the squares of each output's errors are multiplied by to be in its units."""
        units: np.ndarray = np.square(self.deviation)
        return units

    def apply(self, targets: np.ndarray) -> np.ndarray:
        """Return standardized targets (float64)."""
        scaled: np.ndarray = (targets - self.mean) / self.deviation
        return scaled

    def undo(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs of the network in the targets' units, in their own dtype."""
        back: np.ndarray = (outputs * self.deviation + self.mean).astype(outputs.dtype)
        return back

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON values, which keep every bit."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_facts(cls, facts: dict[str, Any] | None) -> TargetScale | None:
        """Return what `facts` wrote; None for None."""
        if facts is None:
            return None
        return cls(np.array(facts["mean"], "f8"), np.array(facts["deviation"], "f8"))


def measure_targets(targets: np.ndarray) -> TargetScale | None:
    """Return the scale of the training targets (rows, outputs), or None where there is none.

    An output that does not vary has deviation 1. None where one varies so much or so little that
    the square of its deviation is beyond float64.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        deviation = targets.std(axis=0)
        deviation[targets.min(axis=0) == targets.max(axis=0)] = 1.0
        scale = TargetScale(targets.mean(axis=0), deviation)
        numbers = [scale.mean, scale.loss_units, 1 / scale.loss_units]
    return scale if np.isfinite(numbers).all() else None
