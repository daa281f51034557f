"""Checks that arrays from outside can serve as inputs and as targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.format import Array, Splits
from disttrain.errors import DataError

__all__ = ["MAX_CLASSES", "checked_inputs", "checked_targets", "is_one_hot", "of_one_type"]

MAX_CLASSES = 1_000_000
"""More classes than that are a wrong column or file: each costs the network an output."""

BLOCK_ROWS = 4096


def checked_inputs(array: Array, source: Path, name: str = "inputs") -> Array:
    """Return `array` as inputs: (rows, ...), integers or finite floats; yes/no becomes float32.

    Raises DataError, naming the row and the position in it of the first bad value.
    """
    where = f"{source}: {name}"
    _refuse_unless_numbers(array, where)
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{where} of shape {array.shape} hold no rows: check the file")
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.dtype.kind == "b":  # as uint8 it would be taken for pixels and divided by 255
        array = array.astype(np.float32)
    _refuse_unless_finite(array, where)
    return array


def checked_targets(
    array: Array, source: Path, name: str = "targets", *, regression: bool = False
) -> Array:
    """Return `array` as targets: whole-number dtypes become classes, floats stay for regression.

    Rows of a single 1 among zeros become the class that it stands for. Classes are (rows,) int64;
    regression targets (rows, outputs) float32 or float64. Raises DataError, naming the row of the
    first bad value.
    """
    where = f"{source}: {name}"
    _refuse_unless_numbers(array, where)
    if array.size == 0:
        raise DataError(f"{where} of shape {array.shape} hold no rows: check the file")
    if not regression and is_one_hot(array):
        array = array.argmax(axis=1)
    if array.dtype.kind == "f" or regression:
        return _floats(array, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{where} have shape {array.shape}, but class numbers are one per row: "
            "give those, or ask for regression"
        )
    for bad, words in ((array < 0, "negative"), (array >= MAX_CLASSES, "out of range")):
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{where}: class number {array[row]} in row {row} is {words}: "
                "number the classes from 0, or ask for regression"
            )
    return array.astype(np.int64)


def of_one_type(splits: Splits) -> dict[str, tuple[Array, Array]]:
    """Return splits whose targets, where all are floats, have the widest type among them."""
    types = [targets.dtype for _, targets in splits.values()]
    if any(kind.kind != "f" for kind in types):
        return dict(splits)
    wide = np.result_type(*types)
    return {name: (x, targets.astype(wide, copy=False)) for name, (x, targets) in splits.items()}


def is_one_hot(array: Array) -> bool:
    """Tell whether each row is a single 1 among zeros, in two columns or more."""
    if array.dtype.kind not in "biuf" or array.ndim != 2 or array.shape[1] < 2:
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _floats(array: Array, where: str) -> Array:
    if array.ndim not in (1, 2):
        raise DataError(f"{where} have shape {array.shape}, but need one row per sample")
    if array.dtype not in (np.float32, np.float64):
        short = array.astype(np.float32)
        array = short if (short == array).all() else array.astype(np.float64)
    array = array.reshape(len(array), -1)
    _refuse_unless_finite(array, where)
    return array


def _refuse_unless_numbers(array: Array, where: str) -> None:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(
            f"{where} have dtype {array.dtype}: they must be integers or floats of up to 8 bytes"
        )


def _refuse_unless_finite(array: Array, where: str) -> None:
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), BLOCK_ROWS):
        block = array[start : start + BLOCK_ROWS].reshape(-1, array[0].size)
        bad = np.argwhere(~np.isfinite(block))
        if len(bad):
            row, column = bad[0]
            raise DataError(
                f"{where}: row {start + row}, column {column} is {block[row, column]}: "
                "fill in or remove values that are not finite"
            )
