"""What arrays from outside are likely to be besides what they look like; a sentence for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.format import Array, Splits
from disttrain.data.importers.checks import BLOCK_ROWS
from disttrain.data.importers.classes import FEW_CLASSES, unlikely_classes
from disttrain.data.labels import counts_from_0
from disttrain.data.shape import channels_first, in_words
from disttrain.errors import DataError

__all__ = ["about_classes", "about_inputs", "about_quantities"]

PIXELS_FROM = 128
"""Pixels reach this; counts and codes that somebody stored in a byte seldom do."""


def _small_bytes(splits: Splits) -> list[str]:
    """Return a note where inputs are bytes that look like counts or codes and not like pixels."""
    if {inputs.dtype for inputs, _ in splits.values()} != {np.dtype(np.uint8)}:
        return []
    rows = all(inputs.ndim == 2 for inputs, _ in splits.values())
    if any(_reaches(inputs, PIXELS_FROM if rows else 2) for inputs, _ in splits.values()):
        return []
    most = max(int(inputs.max()) for inputs, _ in splits.values())
    return [
        f"the inputs are bytes from 0 to {most}: small whole numbers as bytes are taken for pixels "
        'and divided by 255: give them as floats (x.astype("float32")) if they are counts'
    ]


def _reaches(inputs: Array, limit: int) -> bool:
    """Tell whether some number is not below a limit, reading no more than it takes."""
    blocks = range(0, len(inputs), BLOCK_ROWS)
    return any(bool((inputs[low : low + BLOCK_ROWS] >= limit).any()) for low in blocks)


def about_inputs(splits: Splits) -> list[str]:
    """Return notes where bytes may be no pixels, and of images whose channels stand first."""
    shape, notes = next(iter(splits.values()))[0].shape[1:], _small_bytes(splits)
    if not channels_first(shape):
        return notes
    return [
        *notes,
        f"a sample is {in_words(shape)}, which looks like an image with its channels first: "
        "layers for images take them last (numpy.moveaxis(x, 1, -1))",
    ]


def about_classes(splits: Splits, source: Path) -> list[str]:
    """Return notes of classes without training rows, where classes are whole numbers.

    Also of whole numbers that look like quantities, such as years. Raises DataError where the
    training counts from 1 and others from 0, so that each class would be taken for its neighbour.
    """
    targets = splits["train"][1] if "train" in splits else np.empty(0)
    if targets.dtype.kind != "i":
        return []
    found, notes = np.unique(targets), list[str]()
    if kind := unlikely_classes(targets):
        notes.append(f"the targets are {kind}, taken for classes: --regression fits numbers")
    for split, (_, own) in splits.items():
        new = np.setdiff1d(own, found).tolist()
        if counts_from_0(own, found):
            raise DataError(
                f"{source}: the classes of train are counted from 1 (1 to {found[-1]}), but those "
                f"of {split} from 0: count both from 0"
            )
        if new:
            some = ", ".join(map(str, new[:10])) + ", ..." * (len(new) > 10)
            notes.append(f"{split} has rows of classes that train has none of: {some}")
    count = int(found[-1]) + 1
    counted_from_1 = found[0] == 1 and len(found) == count - 1
    if len(found) < count and not counted_from_1:
        notes.append(
            f"{count - len(found)} of the {count} classes, 0 to {count - 1}, have no training row"
        )
    return notes


def about_quantities(splits: Splits, regression: bool) -> list[str]:
    """Return a note where targets are a few whole numbers, but stored as floats."""
    targets = splits["train"][1] if "train" in splits else np.empty((0, 1))
    if regression or targets.ndim == 1 or targets.shape[1] > 1:
        return []
    few = np.unique(targets)
    if not 1 < len(few) <= FEW_CLASSES or (few != np.floor(few)).any():
        return []
    return [
        f"the targets are {len(few)} different whole numbers, stored as {targets.dtype}, and are "
        "taken for quantities: store them as integers if they are classes"
    ]
