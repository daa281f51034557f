"""What the intervals of a run say about its settings: too fast, too slow, too small, too free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from disttrain.config import Settings

__all__ = ["diagnose"]

History = Sequence[Mapping[str, Any]]

# Fewer intervals say nothing; at most so many of the last ones are looked at.
LEAST, LAST = 3, 10


def diagnose(history: History, settings: Settings) -> list[str]:
    """Return what is wrong with a run, by stated rules, or one sentence that all is well.

    `history` are the intervals as in `metrics.jsonl`; of fewer than three, and of a perceptron,
    whose rule knows no better or worse rate, nothing is said. `t` is the training loss and `v` the
    validation loss of an interval, `t0` the loss to begin with: log K for the softmax over K
    classes, else the first interval's. "Lately" is the last ten intervals.

    1. Too large a rate, oscillation: lately what `t` rose, added up, is at least half of what it
       fell, and its changes are at least 10 % of its mean, which is at least 5 % of `t0`.
    2. Too large a rate, no descent: the last `t` is above both the first and 1.05 `t0`.
    3. Too small a rate: `t` fell in 9 of 10 intervals, by less than 10 % from the first to the
       last, the last is still above half of `t0`, and it is not that it has arrived: a step of the
       second half of the changes, divided by its rate, does at least half of what the first did.
    4. Overfitting: since the least `v`, `t` fell by a factor of at least 1.25 while `v`, the lesser
       of the last two, rose by at least 10 %, to at least 5 % of `t0`.
    5. Underfitting: the last training accuracy is below 80 % (without classes: `t` above half of
       the first), and `v` is within 10 % of `t` or below it, or is not known. Where `t` is within
       5 % of `t0`, nothing was learned, and more units are the last cure to try.

    A rate that is too large or too small (1-3) hides the rest, so 4 and 5 wait until it is mended.
    """
    if len(history) < LEAST or settings.model.loss == "perceptron":
        return []
    rate = (
        _oscillates(history, settings) or _climbs(history, settings) or _creeps(history, settings)
    )
    found = [rate] if rate else [_overfits(history, settings), _underfits(history, settings)]
    return [sentence for sentence in found if sentence] or [_well(history)]


def _losses(history: History, split: str = "train") -> list[float]:
    return [h[f"{split}_loss"] for h in history if h[f"{split}_loss"] is not None]


def _begin(history: History, settings: Settings) -> float:
    """Return the loss to begin with, `t0`."""
    classes = settings.model.layers[-1].units
    if settings.model.loss == "softmax" and classes > 1:
        return math.log(classes)
    return _losses(history)[0]


def _oscillates(history: History, settings: Settings) -> str | None:
    lately = _losses(history)[-LAST:]
    changes = [b - a for a, b in pairwise(lately)]
    rises, falls = sum(c for c in changes if c > 0), -sum(c for c in changes if c < 0)
    mean, size = sum(lately) / len(lately), (rises + falls) / len(changes)
    if not rises or not falls or rises < 0.5 * falls or size < 0.1 * mean:
        return None
    if mean < 0.05 * _begin(history, settings):
        return None
    up = sum(c > 0 for c in changes)
    return (
        f"the training loss oscillates: it rose in {up} of the last {len(changes)} intervals, by "
        f"{size:.3g} an interval around {mean:.3g}; the learning rate is too large: "
        f"{_smaller(history)}"
    )


def _climbs(history: History, settings: Settings) -> str | None:
    losses, begin = _losses(history), _begin(history, settings)
    if losses[-1] <= max(losses[0], 1.05 * begin):
        return None
    return (
        f"the training loss rises: {losses[0]:.3g} after the first interval, {losses[-1]:.3g} "
        f"after the last, and {begin:.3g} without any training; the learning rate is too large: "
        f"{_smaller(history)}"
    )


def _creeps(history: History, settings: Settings) -> str | None:
    losses = _losses(history)
    changes = [b - a for a, b in pairwise(losses)]
    falling = sum(c < 0 for c in changes)
    fall = 1 - losses[-1] / losses[0] if losses[0] > 0 else 0.0
    if falling < 0.9 * len(changes) or fall >= 0.1:
        return None
    # What a unit of rate did, early and late: where it did more early, the loss has arrived.
    done = [-c / h["learning_rate"] for c, h in zip(changes, history[1:], strict=True)]
    half = len(done) // 2
    late, early = sum(done[-half:]), sum(done[:half])
    if losses[-1] <= 0.5 * _begin(history, settings) or late < 0.5 * early:
        return None
    rate = history[-1]["learning_rate"]
    return (
        f"the training loss falls very slowly: from {losses[0]:.4g} to {losses[-1]:.4g}, "
        f"{100 * fall:.2g} % in {len(losses)} intervals; the learning rate is too small: try "
        f"schedule.learning_rate = {10 * rate:.2g}, or find one by `disttrain check RUN.toml "
        "--rates`"
    )


def _smaller(history: History) -> str:
    rate = history[-1]["learning_rate"]
    return (
        f"try schedule.learning_rate = {rate / 10:.2g}, or find one by `disttrain check RUN.toml "
        "--rates`"
    )


def _overfits(history: History, settings: Settings) -> str | None:
    known = [h for h in history if h["validation_loss"] is not None]
    if len(known) < LEAST:
        return None
    validation, train = _losses(known, "validation"), _losses(known)
    best = validation.index(min(validation))
    now = min(validation[-2:])
    if now < 0.05 * _begin(history, settings):
        return None
    if best >= len(known) - 2 or now < 1.1 * validation[best] or train[best] < 1.25 * train[-1]:
        return None
    return (
        f"it overfits: since epoch {known[best]['epoch']:.3g} the validation loss rose from "
        f"{validation[best]:.3g} to {now:.3g} while the training loss fell from {train[best]:.3g} "
        f"to {train[-1]:.3g}; try stronger regularization (optimizer.weight_decay, dropout of the "
        "layers), early stopping (validation.patience), more data, or fewer units"
    )


def _underfits(history: History, settings: Settings) -> str | None:
    last, losses = history[-1], _losses(history)
    accuracy, validation = last["train_accuracy"], last["validation_loss"]
    if accuracy is None:
        poor, what = losses[-1] > 0.5 * losses[0], f"the training loss is still {losses[-1]:.3g}"
    else:
        poor, what = accuracy < 0.8, f"only {100 * accuracy:.1f} % of training samples are right"
    if not poor or (validation is not None and validation > 1.1 * losses[-1]):
        return None
    near = "" if validation is None else (
        f", and the validation loss {validation:.3g} is no worse than the training loss "
        f"{losses[-1]:.3g}"
    )  # fmt: skip
    says, begin = f"it underfits: {what}{near}; ", _begin(history, settings)
    if abs(losses[-1] - begin) < 0.05 * begin:
        return says + (
            f"the training loss {losses[-1]:.3g} is what it began with: try another initializer, "
            "data.normalize or schedule.learning_rate, and then more units or layers"
        )
    # Still on its way down: at least 1 % an interval over the last two.
    if losses[-1] < 0.98 * losses[-3]:
        says += "it still falls: try more training.epochs first, then more units or layers"
    else:
        says += "try more units or layers"
    if settings.optimizer.weight_decay:
        says += f", or less optimizer.weight_decay than {settings.optimizer.weight_decay:g}"
    if settings.data.normalize == "none":
        says += ", or data.normalize"
    return says


def _well(history: History) -> str:
    train, validation = _losses(history), _losses(history, "validation")
    words = f"it learns well: the training loss went from {train[0]:.3g} to {train[-1]:.3g}"
    if validation:
        known = [h for h in history if h["validation_loss"] is not None]
        best = min(known, key=lambda h: h["validation_loss"])
        words += (
            f"; the validation loss is {validation[-1]:.3g}, at its least "
            f"{best['validation_loss']:.3g} at epoch {best['epoch']:.3g}"
        )
    else:
        words += "; nothing is set aside for validation, so overfitting can't be seen"
    return words
