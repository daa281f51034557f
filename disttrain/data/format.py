"""The data file that disttrain trains on: names, version and the rules that every split keeps.

    data.h5                      HDF5; attributes format = "disttrain-data", version = 1 and,
    │                            where classes have names, classes = those names by number
    ├── classes                  those names, as JSON in bytes, where they are too long for that
    ├── preparation              optional: how tables become such rows, as JSON in bytes
    ├── train/
    │   ├── inputs               (rows, ...) any integer or float dtype up to 8 bytes
    │   ├── targets              (rows,) int64 class numbers from 0, or (rows, outputs) floats
    │   └── weights              optional: (rows,) float32, how much each row counts; 0 or more
    ├── validation/              optional, same parts
    ├── test/                    optional, same parts
    └── unlabelled/              optional: inputs alone, rows for pre-training (`[pretraining]`)

Rows are samples. The arrays are contiguous and unfiltered, so that a rank reads its rows with one
seek. Rows of `train` are in random order, so that a reader may stream them block by block. Behind
the end of the HDF5 file may stand a record of digests (record.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disttrain.errors import DataError

__all__ = [
    "ALIASES",
    "CLASSES",
    "FORMAT",
    "INPUTS",
    "PREPARATION",
    "SPLITS",
    "TARGETS",
    "UNLABELLED",
    "VERSION",
    "WEIGHTS",
    "Array",
    "Splits",
    "check_names",
    "check_splits",
    "check_unlabelled",
    "check_weights",
]

FORMAT = "disttrain-data"
VERSION = 1
SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""The names of splits in files and folders of others; a capital first letter is allowed."""

INPUTS = "inputs"
TARGETS = "targets"
WEIGHTS = "weights"
CLASSES = "classes"
PREPARATION = "preparation"

Array = NDArray[Any]
Splits = Mapping[str, tuple[Array, Array]]
"""Name of a split → (inputs, targets)."""


def check_splits(splits: Splits, source: object) -> None:
    """Refuse splits that don't fit the format or one another.

    There is a split `train`, or `test` alone. `source` is what the message names. Raises DataError.
    Values are not looked at, but for the largest and smallest class number.
    """
    if "train" not in splits and list(splits) != ["test"]:
        raise DataError(f"{source} holds no training rows: a data file needs the split 'train'")
    for name, (inputs, targets) in splits.items():
        where = f"{source}, split '{name}'"
        if name not in SPLITS:
            raise DataError(f"{where}: splits are called {', '.join(SPLITS)}")
        _check_shapes(inputs, targets, where)
    if "train" not in splits:
        return
    for name in splits:
        _check_fits_train(splits, name, f"{source}, split '{name}'")
    targets = splits["train"][1]
    if targets.dtype == np.int64 and targets.min() == targets.max():
        raise DataError(
            f"{source}: all training rows are of one class: there is nothing to tell apart, so "
            "check which column or folder holds the classes"
        )


def check_names(names: Sequence[str], source: object) -> None:
    """Raise DataError for a class whose name HDF5 can't hold."""
    bad = next((name for name in names if "\0" in name), None)
    if bad is not None:
        raise DataError(
            f"{source}: the name of the class {bad!r:.60} has a zero byte in it: take it out"
        )


def check_weights(weights: Array, rows: int, where: str) -> None:
    """Raise DataError unless `weights` are one for each of `rows` rows, finite, and 0 or more."""
    if weights.shape != (rows,):
        raise DataError(f"{where}: weights have shape {weights.shape}, but there are {rows} rows")
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: the weight of row {row} is {weights[row]}: weights are 0 or more, and finite"
        )
    if not weights.any():
        raise DataError(f"{where}: all weights are 0, so no row counts: give larger ones")


def check_unlabelled(inputs: Array, splits: Splits, source: object) -> None:
    """Raise DataError unless `inputs`, which have no targets, are rows like those of the splits."""
    first, _ = next(iter(splits.values()))
    here, there = (inputs.shape[1:], inputs.dtype), (first.shape[1:], first.dtype)
    if here != there or not len(inputs):
        raise DataError(
            f"{source}: the {len(inputs)} rows without targets are {here[1]} of shape {here[0]}, "
            f"the others {there[1]} of shape {there[0]}: give rows like these"
        )


def _check_shapes(inputs: Array, targets: Array, where: str) -> None:
    if inputs.ndim < 2 or targets.ndim < 1:
        raise DataError(f"{where}: inputs have shape {inputs.shape}, but need rows and features")
    if len(inputs) != len(targets):
        raise DataError(
            f"{where}: {len(inputs)} rows of inputs but {len(targets)} targets: "
            "they must come from the same samples"
        )
    if inputs.size == 0 or targets.size == 0:
        raise DataError(f"{where}: there are no rows or no features in it: leave the split out")
    if targets.dtype != np.int64 and not (targets.dtype.kind == "f" and targets.ndim == 2):
        raise DataError(
            f"{where}: targets have shape {targets.shape} and dtype {targets.dtype}, but need to "
            "be int64 class numbers, or floats of shape (rows, outputs)"
        )
    if targets.dtype == np.int64 and (targets.ndim != 1 or targets.min() < 0):
        raise DataError(f"{where}: class numbers must be one per row, counted from 0")


def _check_fits_train(splits: Splits, name: str, where: str) -> None:
    inputs, targets = splits[name]
    first_inputs, first_targets = splits["train"]
    for what, here, there in (
        ("rows of shape", inputs.shape[1:], first_inputs.shape[1:]),
        ("inputs of dtype", inputs.dtype, first_inputs.dtype),
        ("targets of dtype", targets.dtype, first_targets.dtype),
        ("targets of shape", targets.shape[1:], first_targets.shape[1:]),
    ):
        if here != there:
            raise DataError(f"{where}: {what} {here}, but 'train' has {there}: make them the same")
    if targets.dtype == np.int64 and targets.max() > first_targets.max():
        raise DataError(
            f"{where}: class number {targets.max()} is out of range, as 'train' has only "
            f"0 to {first_targets.max()}: check that the splits belong together"
        )
