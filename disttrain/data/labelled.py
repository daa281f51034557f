"""Rows that are used with their targets, and those without (`data.labelled`, `data.unlabelled`)."""

from __future__ import annotations

import numpy as np

from disttrain.config import Data
from disttrain.data.file import DataFile
from disttrain.data.format import UNLABELLED
from disttrain.data.split import set_aside
from disttrain.errors import RunFileError

__all__ = ["REST", "Chosen", "label", "unlabelled_rows"]

Chosen = dict[str, tuple[str, np.ndarray]]
"""Split → the file's split that it is made of, and the rows of that."""


def label(rows: Chosen, targets: dict[str, np.ndarray], settings: Data, seed: int) -> np.ndarray:
    """Leave only `data.labelled` of the training rows in `rows`, stratified; return the others.

    Raises RunFileError where there are fewer rows, or fewer than classes are asked for.
    """
    none, wanted = np.empty(0, np.int64), settings.labelled
    if wanted is None or "train" not in rows:
        return none
    split, numbers = rows["train"]
    own = targets[split][numbers]
    least = len(np.unique(own)) if own.ndim == 1 else 1
    if not least <= wanted <= len(own):
        raise RunFileError(
            f"data.labelled = {wanted:,}, but {settings.path} has {len(own):,} training rows"
            + (f" of {least} classes" if own.ndim == 1 else "")
            + f": give a number from {least} to {len(own)}"
        )
    part = (len(own) - wanted) / len(own)
    kept, rest = set_aside(own, part, seed, "labelled rows")
    rows["train"] = split, numbers[kept]
    return np.asarray(numbers[rest])


# What the parts of the rows without targets are called while they are read.
REST = "rest"


def unlabelled_rows(file: DataFile, rest: np.ndarray, most: int | None) -> Chosen:
    """Return the rows to be used without targets, at most so many: the training's, the file's.

    Raises RunFileError where the file has fewer than `most`.
    """
    own = np.arange(file.unlabelled.rows if file.unlabelled else 0)
    if most is not None:
        if most > len(rest) + len(own):
            raise RunFileError(
                f"data.unlabelled = {most:,}, but {file.path} has {len(rest) + len(own):,} rows to "
                "be used without targets: give less, or leave it out"
            )
        # The rows of a file are in random order, so these are drawn at random.
        rest = rest[:most]
        own = own[: most - len(rest)]
    found = {REST: ("train", rest), UNLABELLED: (UNLABELLED, own)}
    return {name: (split, numbers) for name, (split, numbers) in found.items() if len(numbers)}
