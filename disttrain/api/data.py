"""Arrays of a script, written to a data file that is then used as any other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.labels import class_names, class_numbers, numbers_of
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError

__all__ = ["Data"]

NAMES = "data-*.h5"


class Data:
    """Samples and targets in arrays: `Data(X, y)`, with more rows of the same kind to judge by.

    `inputs` has samples first, of any numeric type; uint8 are pixels and divided by 255. `targets`
    are classes (whole numbers, truth values or names) or floats to be fitted, of shape (samples,)
    or (samples, outputs). `validation` and `test` are pairs of the same. Only rank 0's arrays are
    looked at.
    """

    def __init__(
        self, inputs: Any, targets: Any, *, validation: Any = None, test: Any = None
    ) -> None:
        self._pairs = {"train": (inputs, targets), "validation": validation, "test": test}

    def write(self, folder: Path) -> Path:
        """Write the data file to `folder` under a name made of its content, and return its path.

        A file of that name holds the same and stays. Raises DataError for arrays that fit neither
        the format nor each other.
        """
        splits, names = self._splits()
        sha = hashlib.sha256(repr(names).encode())
        for name, pair in splits.items():
            for array in pair:
                sha.update(f"{name} {array.dtype} {array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        path = folder / NAMES.replace("*", sha.hexdigest()[:16])
        if not path.exists():
            write_data_file(path, splits, names)
        return path

    def _splits(self) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str] | None]:
        splits, names, classes = {}, None, False
        for split, pair in self._pairs.items():
            if pair is None:
                continue
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise DataError(f"{split}: give a pair (inputs, targets)")
            inputs, targets = (
                _array(pair[0], f"{split} inputs"),
                _array(pair[1], f"{split} targets"),
            )
            if split == "train":
                classes, names = targets.dtype.kind != "f", class_names(targets)
            if classes and targets.dtype.kind == "f":
                raise DataError(f"{split} targets are floats, those of train are classes")
            found = class_numbers(targets, names or ()) if classes else numbers_of(targets)
            splits[split] = (inputs, found if classes else found.astype(np.float64))
        return splits, names


def remove_others(path: Path) -> None:
    """Remove the data files of runs that were in the folder of `path` before."""
    for other in path.parent.glob(NAMES):
        if other != path:
            other.unlink(missing_ok=True)


def _array(given: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what} are not an array ({error}): give rows of one length") from None
    if array.ndim == 0:
        raise DataError(f"{what} are no array: give one row for each sample")
    if what.endswith("inputs"):
        if array.dtype.kind == "b":
            array = array.astype(np.int8)
        if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            raise DataError(f"{what} are {array.dtype}: give whole numbers or floats")
        if array.ndim == 1:
            raise DataError(
                f"{what} have shape {array.shape}: give samples first, {(len(array), 1)}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{what} hold NaN or infinity: mend them first")
    return array
