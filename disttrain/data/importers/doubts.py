"""What arrays from outside are likely to be besides what they look like; a sentence for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.format import Array, Splits
from disttrain.data.importers.checks import BLOCK_ROWS
from disttrain.data.importers.classes import FEW_CLASSES, unlikely_classes
from disttrain.data.shape import channels_first, in_words
from disttrain.errors import DataError

__all__ = ["about_classes", "about_inputs", "about_quantities", "without_bytes"]

PIXELS_FROM = 128
"""Pixels reach this; counts and codes that somebody stored in a byte seldom do."""


def without_bytes(splits: Splits) -> tuple[dict[str, tuple[Array, Array]], list[str]]:
    """Return `splits` with float32 for inputs of small whole numbers in bytes, and a note of that.

    As uint8 they would be taken for pixels, which training divides by 255: rows of numbers below
    128, and truth values of any shape.
    """
    kinds = {inputs.dtype for inputs, _ in splits.values()}
    if kinds != {np.dtype(np.uint8)}:
        return dict(splits), []
    rows = all(inputs.ndim == 2 for inputs, _ in splits.values())
    if any(_reaches(inputs, PIXELS_FROM if rows else 2) for inputs, _ in splits.values()):
        return dict(splits), []
    most = max(int(inputs.max()) for inputs, _ in splits.values())
    note = f"the inputs are bytes from 0 to {most}, so no pixels: they are kept as float32"
    return {n: (inputs.astype(np.float32), y) for n, (inputs, y) in splits.items()}, [note]


def _reaches(inputs: Array, limit: int) -> bool:
    """Tell whether some number is not below a limit, reading no more than it takes."""
    blocks = range(0, len(inputs), BLOCK_ROWS)
    return any(bool((inputs[low : low + BLOCK_ROWS] >= limit).any()) for low in blocks)


def about_inputs(splits: Splits) -> list[str]:
    """Return a note where samples look like images whose channels stand first."""
    shape = next(iter(splits.values()))[0].shape[1:]
    if not channels_first(shape):
        return []
    return [
        f"a sample is {in_words(shape)}, which looks like an image with its channels first: "
        "layers for images take them last (numpy.moveaxis(x, 1, -1))"
    ]


def about_classes(splits: Splits, source: Path) -> list[str]:
    """Return notes of classes without training rows, where classes are whole numbers.

    Raises DataError where the training counts from 1 and others from 0, so that each class would
    be taken for its neighbour, and for quantities such as years.
    """
    targets = splits["train"][1] if "train" in splits else np.empty(0)
    if targets.dtype.kind != "i":
        return []
    kind = unlikely_classes(targets)
    if kind:
        raise DataError(
            f"{source}: the targets are {kind}: give --regression to fit numbers, or save them as "
            "text (y.astype(str)) for classes"
        )
    found, notes = np.unique(targets), list[str]()
    for split, (_, own) in splits.items():
        new = np.setdiff1d(own, found).tolist()
        if new == [0] and found[0] == 1 and len(found) == found[-1]:
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
