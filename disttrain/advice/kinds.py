"""Whether samples or targets look like another kind of thing than they are taken for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from disttrain.data import in_words
from disttrain.data.importers.checks import is_one_hot
from disttrain.data.shape import channels_first
from disttrain.training.run import Run

__all__ = ["odd_kinds", "one_hot"]

FEW = 10


def odd_kinds(run: Run) -> list[str]:
    """Return a sentence for each of these that is so:

    - a network begins with a layer for images, and a sample looks like one with its channels first;
    - targets are numbers, but rows of a single 1 among zeros, or at most 10 different whole ones;
    - validation or test has a class that no training row is of.
    """
    return [*_of_samples(run), *one_hot(run), *_of_numbers(run), *_of_classes(run)]


def one_hot(run: Run) -> list[str]:
    """Return a sentence where targets to be fitted are rows of a single 1 among zeros."""
    targets = run.dataset.splits["train"].targets
    if targets.dtype.kind != "f" or not is_one_hot(targets):
        return []
    return [
        f"the targets are rows of a single 1 among {targets.shape[1]} columns and are fitted as "
        "numbers: if they are classes, give the number of the column for each row (in NumPy "
        "y.argmax(axis=1)), or prepare the file again with `disttrain prepare`"
    ]


def _of_samples(run: Run) -> Iterator[str]:
    images = {"conv", "max-pool", "average-pool", "global-average-pool"}
    kinds = {layer.kind for layer in run.network.layers}
    if kinds & images and channels_first(run.dataset.shape):
        yield (
            f"a sample is {in_words(run.dataset.shape)}, which looks like an image with its "
            "channels first, and layers for images take them last: prepare the data again with "
            "numpy.moveaxis(x, 1, -1)"
        )


def _of_numbers(run: Run) -> Iterator[str]:
    targets = run.dataset.splits["train"].targets
    if targets.ndim != 2:
        return
    few = np.unique(targets)
    whole = 1 < len(few) <= FEW < len(targets) and (few == np.floor(few)).all()
    if targets.shape[1] == 1 and whole:
        yield (
            f"the targets are {len(few)} different whole numbers and are fitted as numbers: store "
            "them as integers if they are classes"
        )


def _of_classes(run: Run) -> Iterator[str]:
    trained = np.unique(run.dataset.splits["train"].targets)
    for name, split in run.dataset.splits.items():
        new = np.setdiff1d(split.targets, trained) if run.dataset.classes else np.empty(0)
        if len(new):
            names = run.dataset.class_names
            some = ", ".join(names[n] if names else str(n) for n in new[:5].tolist())
            yield f"{name} has rows of classes without a training row: {some}"
