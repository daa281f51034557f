"""Rules that find from the intervals of a run what is wrong with its settings, and what to change.

`t` is the training loss and `v` the validation loss of an interval, `t0` the loss to begin with:
log K for the softmax over K classes, else the first interval's. "Lately" is the last ten intervals.

1. Too large a rate, oscillation: lately what `t` rose, added up, is at least half of what it
   fell, and its changes are at least 10 % of its mean, which is at least 5 % of `t0`.
2. Too large a rate, no descent: the last `t` is above both the first and 1.05 `t0`, or the first
   above 3 `t0`.
3. Too small a rate: `t` fell in 9 of 10 intervals, by less than 10 % from the first to the
   last, the last is still above half of `t0`, and it has not converged: the changes of the second
   half, each divided by its rate, add up to at least half of those of the first half. Or the rate
   is at most an eighth of what the data would choose, the last `t` at least a fifth of `t0`, the
   accuracy below 90 %, and `v`, where it is known, is still falling and below 1.5 `t`. Weights from
   another run (`model.from`), frozen layers and layers with rates of their own need small rates.
4. Overfitting: since the least `v`, `t` fell by a factor of at least 1.25 while `v`, the lesser
   of the last two, rose by at least 10 %, to at least 5 % of `t0`. Or a gap: that `v` is at
   least 3 times the last `t` and at least 10 % of `t0`, or 2.5 times and 25 %.
5. Underfitting: the last training accuracy is below 80 % (without classes: `t` above half of
   the first), and `v` is within 10 % of `t` or below it, or is not known. Where `t` is within
   5 % of `t0`, nothing was learned, and more units are the last cure to try.
6. A rate that has become too small to learn: in the last fifth of the intervals or more, at least
   three, it was below a thousandth of the largest, and `t` changed by less than 1 %.
7. Few updates, by `advice/updates.py`, and the last `t` is above 10 % of `t0`.

Beside these `advice/evidence.py` says what is no better than guessing, and what too few validation
rows can't tell: with these 4 is not tried. Where the rate is too large or too small (1-3), 4 and 5
are not tried; 5 is not said beside guessing, whose advice is the same, and beside 7, which is to be
mended first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from disttrain.advice.evidence import are_few, by_few, guesses, has_settled, held_back, well
from disttrain.advice.guessing import Guess
from disttrain.advice.updates import few_updates
from disttrain.config import Settings
from disttrain.training.fitted import rate_for, times_of_form

__all__ = ["diagnose"]

History = Sequence[Mapping[str, Any]]

# Fewer intervals say nothing; at most so many of the last ones are looked at.
LEAST, LAST = 3, 10


def diagnose(
    history: History,
    settings: Settings,
    guessed: Guess | None = None,
    odd: Sequence[str] = (),
    rows: int = 0,
) -> list[str]:
    """Return what is wrong with a run, by stated rules, or one sentence that all is well.

    `history` are the intervals as in `metrics.jsonl`, `guessed` is the score of guessing on the
    validation rows (where there are none, on the training rows), `odd` the sentences about the
    inputs and targets themselves, `rows` the number of training rows where it is known.

    But for few updates nothing is said about fewer than three intervals; nor about a perceptron,
    for which no rate is better than another. The rules stand at the top of this file.
    """
    if not history or settings.model.loss == "perceptron":
        return []
    few = _few(history, settings, rows)
    if len(history) < LEAST:
        return [few] if few else []
    rate = (
        _oscillates(history, settings)
        or _climbs(history, settings)
        or _creeps(history, settings)
        or (None if few else _is_timid(history, settings, rows))
    )
    known = bool(odd or few or rate)
    guess = guesses(history, guessed, known, held_back(settings)) if guessed else None
    found = [guess, *odd, few, rate]
    if not rate:
        found.append(None if are_few(history, guessed) else _overfits(history, settings))
        found.append(None if guess or few else _underfits(history, settings))
    found.append(_faded(history))
    said = [by_few(sentence, history, guessed) for sentence in found]
    return [sentence for sentence in said if sentence] or [well(history, guessed)]


def _few(history: History, settings: Settings, rows: int) -> str | None:
    if not rows or _losses(history)[-1] <= 0.1 * _begin(history, settings):
        return None
    steps, epoch = history[-1]["step"], history[-1]["epoch"]
    early = epoch < settings.training.epochs
    return few_updates(settings, rows, max(round(steps / epoch), 1), steps, early)


def _losses(history: History, split: str = "train") -> list[float]:
    return [h[f"{split}_loss"] for h in history if h[f"{split}_loss"] is not None]


def _begin(history: History, settings: Settings) -> float:
    """Return the loss to begin with, `t0`."""
    classes = getattr(settings.model.layers[-1], "units", 0)
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
        f"{_smaller(history, settings)}"
    )


def _climbs(history: History, settings: Settings) -> str | None:
    losses, begin = _losses(history), _begin(history, settings)
    if losses[0] > 3 * begin:
        return (
            f"the training loss was {losses[0]:.3g} after the first interval, and {begin:.3g} "
            f"without any training; the learning rate is too large: {_smaller(history, settings)}"
        )
    if losses[-1] <= max(losses[0], 1.05 * begin):
        return None
    return (
        f"the training loss rises: {losses[0]:.3g} after the first interval, {losses[-1]:.3g} "
        f"after the last, and {begin:.3g} without any training; the learning rate is too large: "
        f"{_smaller(history, settings)}"
    )


def _creeps(history: History, settings: Settings) -> str | None:
    losses = _losses(history)
    changes = [b - a for a, b in pairwise(losses)]
    falling = sum(c < 0 for c in changes)
    fall = 1 - losses[-1] / losses[0] if losses[0] > 0 else 0.0
    if falling < 0.9 * len(changes) or fall >= 0.1:
        return None
    # The fall divided by the rate: where it is much less in the later half, the loss has converged.
    done = [-c / h["learning_rate"] for c, h in zip(changes, history[1:], strict=True)]
    half = len(done) // 2
    late, early = sum(done[-half:]), sum(done[:half])
    if losses[-1] <= 0.5 * _begin(history, settings) or late < 0.5 * early:
        return None
    rate = _largest(history, settings)
    # Ten times of it, or a hundred or a thousand: the smaller the fall, the more.
    times = 10 ** min(max(math.ceil(math.log10(2 / fall)), 1), 3) if fall > 0 else 1000
    larger = max(min(times * rate, _usual(settings)), 10 * rate)
    return (
        f"the training loss falls very slowly: from {losses[0]:.4g} to {losses[-1]:.4g}, "
        f"{100 * fall:.2g} % in {len(losses)} intervals; the learning rate is too small: "
        f"{_try(larger)}"
    )


def _is_timid(history: History, settings: Settings, rows: int) -> str | None:
    losses, accuracy = _losses(history), history[-1]["train_accuracy"]
    rate, kind = _largest(history, settings), settings.optimizer.kind
    batch = settings.training.batch_size
    if not rows or losses[-1] < 0.2 * _begin(history, settings) or (accuracy or 0) >= 0.9:
        return None
    if _is_tuned(settings) or has_settled(_losses(history, "validation"), losses[-1]):
        return None
    usual = rate_for(settings.optimizer, rows, batch, numbers=accuracy is None)
    if rate > usual / 8:
        return None
    of = f"batches of {batch:,}" if kind == "sgd" and batch else f"{kind} on {rows:,} rows"
    return (
        f"the training loss fell slowly, from {losses[0]:.3g} to {losses[-1]:.3g}, and "
        f"the learning rate {rate:.2g} is small for {of}: {_try(usual)}"
    )


def _is_tuned(settings: Settings) -> bool:
    """Return True where some weights are to stay near what they begin with."""
    trained = [layer for layer in settings.model.layers if layer.kind in ("dense", "conv")]
    return settings.model.from_ is not None or any(
        getattr(layer, "frozen", False) or getattr(layer, "rate", 1.0) != 1 for layer in trained
    )


def _smaller(history: History, settings: Settings) -> str:
    return _try(min(_largest(history, settings) / 10, _usual(settings)))


def _largest(history: History, settings: Settings) -> float:
    """Return the largest rate: the one that the run file has, where it has one."""
    if settings.schedule.kind != "rates":
        return settings.schedule.learning_rate
    return float(max(h["learning_rate"] for h in history))


def _usual(settings: Settings) -> float:
    """Return a rate that is rather large than small for the optimizer."""
    sgd = settings.optimizer.kind == "sgd"
    return 0.1 * times_of_form(settings.optimizer) if sgd else 0.005


def _try(rate: float) -> str:
    return (
        f"try schedule.learning_rate = {rate:.2g}, or find one by `disttrain check RUN.toml "
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
    rises = best < len(known) - 2 and now >= 1.1 * validation[best]
    if rises and train[best] >= 1.25 * train[-1]:
        says = (
            f"since epoch {known[best]['epoch']:.3g} the validation loss rose from "
            f"{validation[best]:.3g} to {now:.3g} while the training loss fell from "
            f"{train[best]:.3g} to {train[-1]:.3g}"
        )
    elif _apart(now, train[-1], _begin(history, settings)):
        says = f"the validation loss is {now:.3g}, but the training loss only {train[-1]:.3g}"
    else:
        return None
    kept = ""
    if settings.validation.best == "loss":
        kept = f"; the best weights, those of epoch {known[best]['epoch']:.3g}, are kept"
    early = ", early stopping (validation.patience = 5)"
    return (
        f"it overfits: {says}{kept}; try stronger regularization (optimizer.weight_decay = "
        f"{max(10 * settings.optimizer.weight_decay, 0.01):.2g}, dropout of the layers)"
        f"{'' if settings.validation.patience else early}, more data, or fewer units"
    )


def _apart(validation: float, train: float, begin: float) -> bool:
    return any(validation >= max(k * train, part * begin) for k, part in ((3, 0.1), (2.5, 0.25)))


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
        less = f"{first}, " if (first := held_back(settings)) else ""
        return says + (
            f"the training loss {losses[-1]:.3g} is what it began with: try {less}another "
            "initializer, data.normalize or schedule.learning_rate, and then more units or layers"
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


def _faded(history: History) -> str | None:
    rates, losses = [h["learning_rate"] for h in history], _losses(history)
    most, count = max(rates), 0
    while count < len(rates) and rates[-1 - count] < most / 1000:
        count += 1
    if count < max(LEAST, len(rates) / 5) or count == len(rates):
        return None
    before, now = losses[-1 - count], losses[-1]
    if abs(now - before) >= 0.01 * abs(before):
        return None
    return (
        f"the learning rate has faded: since epoch {history[-count]['epoch']:.3g} it is below "
        f"{most / 1000:.2g}, a thousandth of the largest, and the last {count} of {len(rates)} "
        f"intervals left the training loss at {now:.3g}; fewer training.epochs do the same, and "
        'schedule.kind = "cosine" uses them all'
    )
