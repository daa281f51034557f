"""What validation rows, or without them training rows, say: is it better than guessing, and well?

1. No better than guessing, at the least validation loss (else at the end): the accuracy is not
   above that of always saying the most frequent class, or by less than a tenth of what is missing
   to 100 % ("hardly"); without classes, the loss is above 90 % of that of always saying the mean.
   It may be no better where the accuracy is above it by less than two standard errors of so many
   validation rows.
2. It learns well where, at the least validation loss, half of what guessing leaves is done: of what
   is missing to 100 %, or of the loss of the mean. Else it learns.
3. Fewer than 25 validation rows tell nothing: a verdict by them says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from disttrain.advice.guessing import Guess
from disttrain.config import Settings
from disttrain.config.kinds import Update
from disttrain.config.layers import Dropout

__all__ = ["FEW", "are_few", "by_few", "guesses", "has_settled", "well"]

History = Sequence[Mapping[str, Any]]

# What fewer validation samples show may be chance.
FEW = 25
# The most frequent class has so much, and rare ones hardly count.
LARGE = 0.8
# A validation loss so many times the training loss is of samples that are learned by heart.
APART = 3
CROSS = "`disttrain cross-validate RUN.toml` judges by all training samples"


def guesses(history: History, guessed: Guess, why: bool, first: str = "") -> str | None:
    """Return the sentence that a run is no better than guessing; None where it is.

    Where it is not known `why`, it says what to try `first`, and how to find out.
    """
    at, split, rows = _judged(history, guessed)
    loss, accuracy = at[f"{split}_loss"], at[f"{split}_accuracy"]
    if accuracy is None or guessed.accuracy is None:
        if accuracy is not None or guessed.loss is None or loss <= 0.9 * guessed.loss:
            return None
        word = "hardly" if loss < guessed.loss else "no"
        says = f"the {rows} loss is {loss:.3g}, and {_of_guessing(guessed)}"
        return _no_better(word, says, 0.0, why, first)
    base, chance = guessed.accuracy, 0.0
    if split == "validation":
        # Two standard errors of the accuracy on so many rows.
        chance = 2 * math.sqrt(base * (1 - base) / guessed.rows)
    says = f"{_right(accuracy, guessed, rows)}, and {_of_guessing(guessed)}"
    if accuracy <= base or accuracy < base + 0.1 * (1 - base):
        return _no_better("no" if accuracy <= base else "hardly", says, base, why, first)
    if accuracy >= min(base + chance, 1.0):
        return None
    return (
        f"it may be no better than guessing: {says}; of so few samples {100 * chance:.0f} points "
        f"may be chance: {CROSS}"
    )


def held_back(settings: Settings) -> str:
    """Return what to try where regularization is so strong that a run may learn nothing, or ""."""
    decay, layers = settings.optimizer.weight_decay, settings.model.layers
    strong = []
    if decay > Update.model_fields["weight_decay"].default:
        strong.append(f"less optimizer.weight_decay than {decay:g}")
    rates = [layer.rate if isinstance(layer, Dropout) else getattr(layer, "dropout", 0.0)
             for layer in layers]  # fmt: skip
    if max(rates) > Dropout.model_fields["rate"].default:
        strong.append(f"less dropout than {max(rates):g}")
    return " and ".join(strong)


def are_few(history: History, guessed: Guess | None) -> bool:
    """Return True where a run was judged by too few validation rows."""
    return guessed is not None and bool(_known(history)) and guessed.rows < FEW


def has_settled(validation: Sequence[float], train: float) -> bool:
    """Return True where the validation loss falls no more, or is well above the training loss."""
    if len(validation) < 3:
        return False
    now = min(validation[-2:])
    return now >= min(validation[:-2]) or now >= 1.5 * train


def by_few(sentence: str | None, history: History, guessed: Guess | None) -> str | None:
    """Add to what was judged by validation rows that there are few of them."""
    judged = (sentence or "").startswith("it is ")
    known = _known(history)
    if known and guessed and guessed.loss and known[-1]["validation_loss"] > 2 * guessed.loss:
        # So far from guessing is no chance.
        return sentence
    if not judged or guessed is None or not are_few(history, guessed):
        return sentence
    return (
        f"{sentence}; only {guessed.rows} samples are set aside for validation, so this may be "
        f"chance: {CROSS}"
    )


def well(history: History, guessed: Guess | None) -> str:
    """Return the sentence for a run with which nothing is wrong, with the figures that say so."""
    losses = [h["train_loss"] for h in history if h["train_loss"] is not None]
    first, last = losses[0], losses[-1]
    fell = f"the training loss went from {first:.3g} to {last:.3g}"
    known = _known(history)
    if not known:
        return (
            f"it learns well: {fell}; nothing is set aside for validation, so overfitting can't be "
            "seen"
        )
    now, best = known[-1]["validation_loss"], _best(known)
    seen = (
        f"{fell}; the validation loss is {now:.3g}, at its least {best['validation_loss']:.3g} at "
        f"epoch {best['epoch']:.3g}"
    )
    if guessed and are_few(history, guessed):
        return (
            f"it learns the training samples: {seen}, but {guessed.rows} validation samples are "
            f"too few to tell how it does on others: {CROSS}"
        )
    if guessed and not _half_done(best, guessed):
        accuracy = best["validation_accuracy"]
        if accuracy is None:
            return f"it learns: {seen}, and {_of_guessing(guessed)}"
        right = _right(accuracy, guessed, "validation")
        return f"it learns: {seen}; {right}, and {_of_guessing(guessed)}"
    if last > 0 and now >= APART * last:
        seen += (
            f", {now / last:.0f} times the training loss: some of what it learned holds for the "
            "training samples alone"
        )
    return f"it learns well: {seen}"


def _known(history: History) -> list[Mapping[str, Any]]:
    return [h for h in history if h["validation_loss"] is not None]


def _best(known: History) -> Mapping[str, Any]:
    return min(known, key=lambda h: h["validation_loss"])


def _judged(history: History, guessed: Guess) -> tuple[Mapping[str, Any], str, str]:
    """Return the interval to judge by, its split, and what its rows are called."""
    known = _known(history)
    if known:
        return _best(known), "validation", "validation"
    return history[-1], "train", "training"


def _half_done(best: Mapping[str, Any], guessed: Guess) -> bool:
    accuracy, base = best["validation_accuracy"], guessed.accuracy
    if accuracy is not None and base is not None:
        return bool(accuracy - base >= 0.5 * (1 - base))
    return guessed.loss is None or bool(best["validation_loss"] <= 0.5 * guessed.loss)


def _right(accuracy: float, guessed: Guess, rows: str) -> str:
    return f"{100 * accuracy:.1f} % of the {guessed.rows:,} {rows} samples are right"


def _of_guessing(guessed: Guess) -> str:
    if guessed.accuracy is None:
        return f"{guessed.loss:.3g} by always saying {guessed.answer}"
    return f"{100 * guessed.accuracy:.1f} % would be by always saying {guessed.answer}"


def _no_better(word: str, says: str, base: float, why: bool, first: str) -> str:
    sentence = f"it is {word} better than guessing: {says}"
    if base >= LARGE:
        sentence += '; for the rare classes try training.class_weights = "balanced"'
    if why:
        return sentence
    return (
        f"{sentence}{f'; first try {first}' if first else ''}; see whether it can learn a few "
        "samples (`disttrain check RUN.toml --overfit`) and which rates work (`--rates`); if both "
        "are well, try more units or layers; "
        "where these do not help, the inputs say too little about the targets"
    )
