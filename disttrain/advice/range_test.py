"""Which learning rates work: one short training in which the rate rises until the loss diverges."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from disttrain.errors import Divergence, UsageError
from disttrain.model import Perceptron
from disttrain.training.limits import within_limits
from disttrain.training.run import Run
from disttrain.training.trainer import train_step

__all__ = ["LOW_HIGH", "RangeTest", "parse_range", "range_test"]

LOW_HIGH = 1e-5, 10.0
STEPS = 120
# The loss at a rate is the mean over so many steps before it and as many after it.
AROUND = 4
# The slope at a rate is taken over this part of all points on either side of it: a batch's noise
# would decide over fewer.
SLOPE = 1 / 12
# It has diverged where the mean of the last five losses is above so many times the first loss.
BROKEN, RECENT = 2.0, 5


@dataclass(frozen=True)
class Point:
    """One update: its rate, the mean loss of the next batch, and that smoothed."""

    rate: float
    loss: float
    smoothed: float


@dataclass(frozen=True)
class RangeTest:
    """The points, and what follows from them; None where no rate lowered the loss.

    `largest_stable` is the rate at which the smoothed loss is least: beyond it the loss rises.
    `steepest` is the rate, below that, around which it falls fastest for equal factors of the rate.
    `diverged_at` is the rate at which the loss diverged, None where it did not.
    """

    initial_loss: float
    points: list[Point]
    steepest: float | None
    largest_stable: float | None
    diverged_at: float | None

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)


def parse_range(text: str | None) -> tuple[float, float]:
    """Return the two rates of "LOW:HIGH"; raise UsageError for anything else."""
    if text is None:
        return LOW_HIGH
    try:
        low, high = (float(word) for word in text.split(":"))
    except ValueError:
        low = high = math.nan
    if not 0 < low < high < math.inf:
        raise UsageError(f"{text!r} is not a range of rates: write LOW:HIGH, as in 1e-5:10")
    return low, high


def range_test(run: Run, low: float, high: float, steps: int = STEPS) -> RangeTest:
    """Train `steps` updates while the rate rises exponentially from `low` to `high`. Collective.

    Smith, Cyclical learning rates for training neural networks, 2017. It begins with the run's
    weights, uses its batches, momentum and weight decay, stops where the loss has diverged, and
    puts everything back.
    """
    if isinstance(run.loss, Perceptron):
        raise UsageError(
            "a range test is of no use for a perceptron: its result does not depend on the rate"
        )
    rates = np.geomspace(low, high, steps).tolist()
    vectors = run.optimizer.vectors.values()
    before = [vector.copy() for vector in vectors]
    losses: list[float] = []
    broken = False
    with within_limits(run.settings, run.comm, run.threads):
        # One step more, whose loss shows the effect of the last rate.
        for step, rate in enumerate([*rates, low]):
            try:
                with np.errstate(all="ignore"):
                    totals = train_step(run, step, rate)
            except Divergence:
                broken = True
                break
            losses.append(totals.loss * run.loss_unit / run.work.batches.divisor(step))
            if sum(losses[-RECENT:]) / len(losses[-RECENT:]) > BROKEN * losses[0]:
                broken = True
                break
    for vector, held in zip(vectors, before, strict=True):
        vector[:] = held
    run.work.ledger.forget()
    return judged(rates, losses, broken)


def judged(rates: list[float], losses: list[float], broken: bool) -> RangeTest:
    """Return the result of the test; `losses[i]` is the loss after the updates before step `i`."""
    if not losses:
        raise UsageError("the loss is not finite before any update: normalize the inputs")
    after = losses[1:]
    parts = [after[max(i - AROUND, 0) : i + AROUND + 1] for i in range(len(after))]
    smooth = [sum(part) / len(part) for part in parts]
    points = [Point(*numbers) for numbers in zip(rates, after, smooth, strict=False)]
    diverged_at = rates[min(len(after), len(rates) - 1)] if broken else None
    best = min(range(len(smooth)), key=smooth.__getitem__, default=0)
    if not points or smooth[0] - smooth[best] <= noise(points[: best + 1]):
        # No rate lowered the loss by more than noise.
        return RangeTest(losses[0], points, None, None, diverged_at)
    # Rates rise by equal factors, so a difference is a slope by the logarithm of the rate.
    near = max(round(SLOPE * len(smooth)), 1)
    slopes = [smooth[min(i + near, best)] - smooth[max(i - near, 0)] for i in range(best + 1)]
    steepest = min(range(best + 1), key=slopes.__getitem__)
    return RangeTest(losses[0], points, rates[steepest], rates[best], diverged_at)


def noise(points: list[Point]) -> float:
    """Return the fall of a smoothed loss that may be noise: 2 %, or four standard errors."""
    squares = sum((point.loss - point.smoothed) ** 2 for point in points) / len(points)
    return max(0.02 * points[0].smoothed, 4 * math.sqrt(squares / (2 * AROUND + 1)))
