"""Targets as scripts have them: names, truth values or numbers of classes; or numbers to be fitted.

Whole numbers are classes, as in scikit-learn; floats are numbers to be fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from disttrain.data.cells import by_name, place_of
from disttrain.errors import DataError

__all__ = ["class_names", "class_numbers", "counts_from_0", "in_order", "numbers_of"]


def class_names(labels: Any) -> list[str] | None:
    """Return the names of the classes in `labels`, sorted; None where they are numbers from 0.

    None too where `labels` are floats. Whole numbers of which some between 0 and the largest do not
    occur are names. Texts that are all whole numbers are sorted by value: 2 before 10.
    """
    labels = _flat(labels)
    if labels.dtype.kind == "f":
        return None
    found = np.unique(labels)
    counted = labels.dtype.kind in "iu" and np.array_equal(found, np.arange(len(found)))
    names = list(map(str, found.tolist()))
    return None if counted else names if labels.dtype.kind in "iu" else in_order(names)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of classes in their order; where all are whole numbers, 2 stands before 10."""
    found = sorted(names)
    if all(name.isascii() and name.isdecimal() for name in found):
        found.sort(key=float)
    return found


def class_numbers(labels: Any, names: Sequence[str]) -> np.ndarray:
    """Return `labels` as int64 class numbers: their places in `names`, or themselves without any.

    The number 7 is the class 007 too. Raises DataError for a name that is not there.
    """
    labels = _flat(labels)
    if not names:
        if labels.dtype.kind not in "iu":
            raise DataError(
                f"targets are {labels.dtype}, but the classes have no names: give whole numbers "
                "from 0"
            )
        counted: np.ndarray = labels.astype(np.int64)
        return counted
    found, places = np.unique(labels, return_inverse=True)
    known = by_name(names)
    numbers = np.array([place_of(str(name), known) for name in found.tolist()], np.int64)
    if (numbers < 0).any():
        name = found.tolist()[int(np.argmax(numbers < 0))]
        raise DataError(f"targets hold the class {name!r}, which is none of the {len(names)}")
    found_numbers: np.ndarray = numbers[places.reshape(-1)]
    return found_numbers


def counts_from_0(labels: np.ndarray, trained: np.ndarray) -> bool:
    """Tell whether labels are 0 to K - 1, all of them, and those `trained` on are 1 to K."""
    found = np.unique(trained)
    from_1 = len(found) > 1 and np.array_equal(found, np.arange(1, len(found) + 1))
    return from_1 and np.array_equal(np.unique(labels), found - 1)


def numbers_of(targets: Any) -> np.ndarray:
    """Return numbers to be fitted as floats of shape (rows, outputs)."""
    array: np.ndarray = np.asarray(targets)
    return np.reshape(array, (len(array), -1))


def _flat(labels: Any) -> np.ndarray:
    array = np.asarray(labels)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "O":
        # Texts in a table of pandas.
        array = np.array([str(label) for label in array.reshape(-1)]).reshape(array.shape)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind != "f" and array.ndim != 1:
        raise DataError(
            f"targets of shape {array.shape} are not one class for each sample: give class numbers "
            "or names in one column (of rows with a single 1, y.argmax(axis=1)), or floats to be "
            "fitted"
        )
    return array
