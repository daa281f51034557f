"""Reads numpy's files: an array of inputs, or an .npz with arrays of known names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from disttrain.data.dataset import Split
from disttrain.data.importers.arrays import open_npz, read_npy
from disttrain.data.importers.checks import checked_targets, is_one_hot
from disttrain.data.importers.source import Read
from disttrain.data.others.base import Other, Wanted, chosen, joined, refuse_split
from disttrain.data.taught import Taught
from disttrain.errors import DataError, UsageError

__all__ = ["from_npy", "from_npz"]


def from_npy(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the rows of an array, which has no targets."""
    refuse_split(path, wanted.split)
    if wanted.labelled:
        raise UsageError(f"{path} is one array, without targets: give a file that has them")
    array = read_npy(path)
    with _named(path, "its array"):
        rows = taught.rows_of(array)
    split = Split("inputs", rows, np.zeros(rows.count, np.int64))
    return Other(split, range(rows.count))


def from_npz(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the samples of an .npz: the inputs of each split, and the targets if wanted."""
    splits, notes = {}, list[str]()
    with open_npz(path, wanted.labelled) as (file, names):
        for split in chosen(list(names), path, wanted.split):
            inputs, targets = names[split]
            with _named(path, inputs):
                rows = taught.rows_of(file[inputs])
            found = np.zeros(rows.count, np.int64)
            if wanted.labelled:
                found = _targets(file[targets], path, targets, taught, rows.count, notes)
            splits[split] = Split(split, rows, found)
    return joined(splits, path, notes)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Put the file and the array before a sentence about its numbers."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}, {name}: {error}") from None


def _targets(
    array: np.ndarray, path: Path, name: str, taught: Taught, rows: int, notes: list[str]
) -> np.ndarray:
    """Return targets: texts by name, numbers of classes by name where the network's are such."""
    if array.dtype.kind in "US":
        array = np.strings.strip(array)
    if array.dtype.kind in "US" or not taught.classes:
        with _named(path, name):
            return taught.targets_of(array, rows)
    numbers = checked_targets(array, path, name)
    wide = array.shape[1] if is_one_hot(array) else 0
    if numbers.dtype != np.int64:
        raise DataError(
            f"{path}: {name} holds {array.dtype}, which are no classes, but the network of "
            f"{taught.network} has {taught.classes} classes: give whole numbers or names, or a "
            "column for each"
        )
    if wide not in (0, taught.classes):
        notes.append(
            f"{path}: {name} has {wide} columns of classes, but the network of {taught.network} "
            f"has {taught.classes} classes: the first column is taken for the class "
            f"{taught.called[0]}, and so on"
        )
    named = wide == 0 and taught.are_names(numbers)
    if not named and numbers.max() >= taught.classes:
        raise DataError(
            f"{path}: {name} holds the class {numbers.max()}, but the classes of {taught.network} "
            f"are {', '.join(taught.called[:10])}{', ...' * (taught.classes > 10)}"
        )
    if not (named or wide) and taught.names and all(map(str.isdecimal, taught.names)):
        notes.append(
            f"{path}: {name} counts classes from 0, and the class called {taught.names[0]} is 0"
        )
    return taught.targets_of(numbers, rows, numbered=not named)
