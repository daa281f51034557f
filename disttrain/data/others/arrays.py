"""Reads numpy's files: an array of inputs, or an .npz with arrays of known names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.dataset import Split
from disttrain.data.importers.arrays import open_npz, read_npy
from disttrain.data.importers.checks import checked_targets
from disttrain.data.importers.source import Read
from disttrain.data.others.base import Other, Wanted, chosen, joined, refuse_split
from disttrain.data.taught import Taught
from disttrain.errors import UsageError

__all__ = ["from_npy", "from_npz"]


def from_npy(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the rows of an array, which has no targets."""
    refuse_split(path, wanted.split)
    if wanted.labelled:
        raise UsageError(f"{path} is one array, without targets: give a file that has them")
    rows = taught.rows_of(read_npy(path))
    split = Split("inputs", rows, np.zeros(rows.count, np.int64))
    return Other(split, range(rows.count))


def from_npz(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the samples of an .npz: the inputs of each split, and the targets if wanted."""
    splits = {}
    with open_npz(path, wanted.labelled) as (file, names):
        for split in chosen(list(names), path, wanted.split):
            inputs, targets = names[split]
            rows = taught.rows_of(file[inputs])
            found = np.zeros(rows.count, np.int64)
            if wanted.labelled:
                found = _targets(file[targets], path, targets, taught, rows.count)
            splits[split] = Split(split, rows, found)
    return joined(splits, path)


def _targets(array: np.ndarray, path: Path, name: str, taught: Taught, rows: int) -> np.ndarray:
    """Return targets: texts by name, numbers of classes by name where the network's are such."""
    if array.dtype.kind in "US" or not taught.classes:
        return taught.targets_of(array, rows)
    numbers = checked_targets(array, path, name)
    whole = array.ndim == 1 and numbers.dtype == np.int64
    named = whole and taught.are_names(numbers)
    return taught.targets_of(numbers, rows, numbered=not named)
