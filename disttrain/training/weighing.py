"""How much each sample counts: class weights and the weights of the data file.

With weights `w` the loss of a batch is `Σ w l / Σ w`, as PyTorch's weighted mean: the sum of
weighted losses and gradients is divided by the sum of weights. `w` is the sample's own weight times
that of its class, each 1 where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from disttrain.arrays import Array
from disttrain.config import Settings
from disttrain.data import Dataset, Split
from disttrain.data.cells import by_name, place_of
from disttrain.errors import RunFileError, UsageError
from disttrain.model import Loss
from disttrain.shown import quoted

__all__ = ["class_weights", "counts_of", "divisor", "weighed"]


def class_weights(settings: Settings, dataset: Dataset, own_loss: bool) -> np.ndarray | None:
    """Return the weight of each class that `training.class_weights` asks for, or None.

    "balanced" is `n / (K n_k)` for class k with `n_k` of the n training rows, as in scikit-learn.
    Raises RunFileError for weights that do not fit the classes or the loss.
    """
    asked, smoothing = settings.training.class_weights, settings.training.label_smoothing
    if asked is None and not smoothing:
        return None
    key = "label_smoothing" if asked is None else "class_weights"
    if own_loss or settings.model.loss != "softmax":
        raise RunFileError(f'training.{key} is for model.loss = "softmax": leave it out')
    if asked is None:
        return None
    names = dataset.class_names or tuple(map(str, range(dataset.classes)))
    if asked == "balanced":
        counts = np.bincount(dataset.splits["train"].targets, minlength=len(names))
        found = counts.sum() / (len(names) * np.maximum(counts, 1))
    elif isinstance(asked, dict):
        found = _of_names(asked, names)
    else:
        found = np.array(asked, "f8")
    if len(found) != len(names) or not found.any():
        raise RunFileError(
            f"training.class_weights has {len(found)} numbers, {int(np.count_nonzero(found))} of "
            f"them above 0: {dataset.file.path} has {len(names)} classes, and each needs one, at "
            "least one of them above 0"
        )
    return np.asarray(found, np.float64)


def _of_names(asked: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    """Return the weight of each class, 1 where none is given; 7 names the class 007 too."""
    known, found = by_name(names), np.ones(len(names))
    for name in sorted(asked):
        place = place_of(name, known)
        if place < 0:
            raise RunFileError(
                f"training.class_weights names the class {quoted(name)}; the classes are "
                f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            )
        if name == names[place] or names[place] not in asked:
            found[place] = asked[name]
    return found


def counts_of(split: Split, loss: Loss) -> np.ndarray | None:
    """Return what each sample of a split adds to the divisor (float64); None: each adds 1."""
    of_class = getattr(loss, "class_weights", None)
    if split.weights is None and of_class is None:
        return None
    counts = np.ones(split.count) if split.weights is None else split.weights.astype(np.float64)
    found: np.ndarray = counts if of_class is None else counts * of_class[split.targets]
    return found


def divisor(counts: np.ndarray) -> float:
    """Return the sum of weights; 1 where all are 0, and nothing is learned."""
    return math.fsum(counts) or 1.0


def weighed(
    loss: Array, gradient: Callable[[], Array], weights: Array | None
) -> tuple[Array, Callable[[], Array]]:
    """Return the loss and the gradient of each sample multiplied by its own weight."""
    if weights is None:
        return loss, gradient
    if loss.shape != weights.shape:
        raise UsageError(
            "the loss must return one number for each sample where samples have weights, not their "
            "sum: return an array of shape (samples,)"
        )

    def backward() -> Array:
        d = gradient()
        d *= weights.reshape(-1, *[1] * (d.ndim - 1)).astype(d.dtype)
        return d

    return loss * weights, backward
