"""Folds: the training rows in parts, each of which is judged by a network trained on the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from disttrain.arrays import permutation
from disttrain.data import Dataset
from disttrain.data.split import set_aside

__all__ = ["difference", "folds_of", "mean_and_deviation", "of_fold"]


def folds_of(targets: np.ndarray, count: int, seed: int, repeat: int = 0) -> list[np.ndarray]:
    """Return the rows (rising, int64) of each of `count` folds; each row is in one of them.

    A function of the seed and the number of the repeat. Sizes differ by one row at most. Where
    `targets` are classes (integers) the folds have as many of each class, to within one row.
    """
    order = permutation(len(targets), seed, "folds", repeat)
    if targets.dtype.kind in "iu":
        order = order[np.argsort(targets[order], kind="stable")]
    # Class after class, dealt like cards.
    return [np.sort(order[first::count]) for first in range(count)]


def of_fold(dataset: Dataset, fold: np.ndarray, aside: float, seed: int) -> Dataset:
    """Return the data of one fold: `test` are its rows, `train` the training rows without them.

    The part `aside` of these others becomes `validation`, for early stopping.
    """
    targets = dataset.splits["train"].targets
    others = np.setdiff1d(np.arange(len(targets)), fold)
    rows = {"train": others, "test": fold}
    if aside:
        kept, chosen = set_aside(targets[others], aside, seed)
        rows |= {"train": others[kept], "validation": others[chosen]}
    return dataset.picked(rows)


def mean_and_deviation(scores: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the deviation of a single score (divisor n - 1)."""
    mean = math.fsum(scores) / len(scores)
    squares = math.fsum((score - mean) ** 2 for score in scores)
    return mean, math.sqrt(squares / max(len(scores) - 1, 1))


def difference(one: Sequence[float], other: Sequence[float], folds: int) -> tuple[float, float]:
    """Return the mean difference of the scores of the same folds, and its standard error.

    The training rows of two folds overlap, so their scores are not independent: with n scores of
    variance s² of their differences the error is `s √(1/n + 1/(folds-1))` (Nadeau and Bengio,
    Inference for the generalization error, 2003).
    """
    mean, deviation = mean_and_deviation([a - b for a, b in zip(one, other, strict=True)])
    return mean, deviation * math.sqrt(1 / len(one) + 1 / (folds - 1))
