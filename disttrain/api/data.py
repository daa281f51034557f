"""Arrays of a script, written to a data file that is then used as any other."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from disttrain.data.importers.classes import unlikely_classes
from disttrain.data.importers.frame import as_frame, inputs_of_frame, learn_frame
from disttrain.data.labels import class_names, class_numbers, numbers_of
from disttrain.data.preparation import Preparation
from disttrain.data.writer import write_data_file
from disttrain.environment import launched
from disttrain.errors import DataError, UsageError
from disttrain.runs.held import DATA

__all__ = ["Data"]


class Data:
    """Samples and targets in arrays: `Data(X, y)`, with more rows of the same kind to judge by.

    `inputs` has samples first, of any numeric type; uint8 are pixels and divided by 255. `targets`
    are classes (whole numbers, truth values or names) or floats to be fitted, of shape (samples,)
    or (samples, outputs). `validation` and `test` are pairs of the same, or triples with weights.
    `weights` (samples,) say how much each training sample counts, 0 or more; those without any
    count as 1. Only rank 0's arrays are looked at.

    Inputs may be DataFrames: text becomes an input for each different cell, `missing` says what
    becomes of missing cells ("mean", "median" or "indicator", the mean and an input that says so;
    by "refuse" there must be none). What was learned of that of the training, `notes` among it, is
    applied to the others and to what is predicted later: columns by name.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        *,
        weights: Any = None,
        validation: Any = None,
        test: Any = None,
        missing: Literal["refuse", "mean", "median", "indicator"] = "refuse",
    ) -> None:
        train = (inputs, targets) if weights is None else (inputs, targets, weights)
        self._pairs = {"train": train, "validation": validation, "test": test}
        self._missing, self.notes = missing, list[str]()
        if missing not in ("refuse", "mean", "median", "indicator"):
            raise UsageError(
                f"missing={missing!r}: give mean, median or indicator (to leave rows out, "
                "drop them from inputs and targets alike)"
            )
        if launched() is None:
            # Of several ranks rank 0's arrays count, and all learn of a mistake in `train`.
            _refuse_lengths(self._pairs)

    def __repr__(self) -> str:
        sizes = (f"{name}: {_size(pair)}" for name, pair in self._pairs.items() if pair is not None)
        return f"<Data {', '.join(sizes)}>"

    def write(self, folder: Path) -> Path:
        """Write the data file to `folder` under a name made of its content, and return its path.

        A file of that name holds the same and stays. Raises DataError for arrays that fit neither
        the format nor each other.
        """
        targets = _array(self._pairs["train"][1], "train targets")
        # Where a resumed run's file is, the same data were accepted before.
        perhaps = any(folder.glob(DATA))
        if not perhaps:
            _refuse_quantities(targets)
        splits, names, known = self._splits()
        weights = self._weights(splits)
        sha = hashlib.sha256(repr(names).encode())
        if known is not None:
            sha.update(known.to_json().encode())
        for name, arrays in splits.items():
            for array in (*arrays, *(weights[n] for n in weights if n == name)):
                sha.update(f"{name} {array.dtype} {array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        path = folder / f"data-{sha.hexdigest()[:16]}.h5"
        if not path.exists():
            if perhaps:
                _refuse_quantities(targets)
            write_data_file(path, splits, names, preparation=known, weights=weights)
        return path

    def _weights(self, splits: Collection[str]) -> dict[str, np.ndarray]:
        """Return the weights of each split; of all or of none, 1 where nothing is said."""
        given = {
            n: _array(p[2], f"{n} weights") for n, p in self._pairs.items() if p and len(p) > 2
        }
        for name, array in given.items():
            if array.dtype.kind not in "iufb":
                raise DataError(f"{name} weights are {array.dtype}: give numbers of 0 or more")
        return {n: given[n].reshape(-1).astype(np.float32) for n in splits if n in given}

    def _splits(
        self,
    ) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str] | None, Preparation | None]:
        splits, names, classes = {}, None, False
        known: Preparation | None = None
        for split, pair in self._pairs.items():
            if pair is None:
                continue
            if not isinstance(pair, tuple | list) or len(pair) not in (2, 3):
                raise DataError(f"{split}: give a pair (inputs, targets), or a third with weights")
            targets = _array(pair[1], f"{split} targets")
            _refuse_missing(pair[1], targets, split)
            if split == "train":
                classes, names = targets.dtype.kind != "f", class_names(targets)
                known = self._learned(pair[0], pair[1], targets, names)
            inputs = _array(_prepared(pair[0], known, split), f"{split} inputs")
            if classes and targets.dtype.kind == "f":
                raise DataError(f"{split} targets are floats, those of train are classes")
            found = class_numbers(targets, names or ()) if classes else numbers_of(targets)
            splits[split] = (inputs, found if classes else found.astype(np.float64))
        return splits, names, known

    def _learned(
        self, inputs: Any, given: Any, targets: np.ndarray, names: list[str] | None
    ) -> Preparation | None:
        """Return what the DataFrame of the training teaches; None where it is an array."""
        frame = as_frame(inputs)
        if frame is None:
            return None
        classes = names or []
        if targets.dtype.kind != "f" and not classes:
            classes = list(map(str, range(int(targets.max()) + 1)))
        outputs = 1 if targets.ndim == 1 else targets.shape[1]
        called = [getattr(given, "name", None)]
        if hasattr(given, "columns"):
            called = list(given.columns)
        elif outputs > 1:
            called = list(range(outputs))
        targets_called = ["target" if name is None else str(name) for name in called]
        known, self.notes = learn_frame(frame, self._missing, targets_called, classes)
        return known


def _refuse_lengths(pairs: Mapping[str, Any]) -> None:
    """Raise DataError where targets or weights are not as many as the inputs."""
    for split, pair in pairs.items():
        if not isinstance(pair, tuple | list) or not all(hasattr(p, "__len__") for p in pair):
            continue  # what this is is said when it is used
        try:
            rows, *others = map(len, pair)
        except (TypeError, ValueError):
            continue
        for name, count in zip(("targets", "weights"), others, strict=False):
            if count != rows:
                raise DataError(
                    f"{split}: {rows} rows of inputs but {count} {name}: give one for each row"
                )


def remove_others(path: Path) -> None:
    """Remove the data files of runs that were in the folder of `path` before."""
    for other in path.parent.glob(DATA):
        if other != path:
            other.unlink(missing_ok=True)


def _prepared(inputs: Any, known: Preparation | None, split: str) -> Any:
    """Return a DataFrame as the numbers that the training's taught, an array as it is."""
    frame = as_frame(inputs)
    if known is None:
        return inputs
    if frame is None:
        raise DataError(f"{split} inputs are no DataFrame, but those of train are: give one too")
    return inputs_of_frame(frame, known, f"the DataFrame of {split}")[0]


def _array(given: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what} are not an array ({error}): give rows of one length") from None
    if array.ndim == 0:
        raise DataError(f"{what} are not an array: give one row for each sample")
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
            raise DataError(
                f"{what} hold NaN or infinity: mend them first (missing= is for DataFrames)"
            )
    return array


def _refuse_missing(given: Any, targets: np.ndarray, split: str) -> None:
    """Raise DataError where a target is missing: NumPy makes the text "nan" or "None" of some."""
    if targets.dtype.kind == "f":
        gaps = ~np.isfinite(targets).reshape(len(targets), -1).all(axis=1)
    elif targets.dtype.kind in "iub" or targets.ndim != 1:
        return
    else:
        gaps = np.array([each is None or not _equals_itself(each) for each in given], bool)
    if places := np.flatnonzero(gaps).tolist():
        raise DataError(
            f"{split} targets: {len(places)} of {len(targets)} are missing or not finite, first at "
            f"place {places[0]} (counted from 0): leave these samples out, in the inputs too"
        )


def _equals_itself(value: Any) -> bool:
    """Return False for NaN, NaT and pandas.NA."""
    try:
        return bool(np.all(value == value))
    except (TypeError, ValueError):
        return False


def _refuse_quantities(targets: np.ndarray) -> None:
    """Raise DataError for whole numbers that a table would hold as quantities, such as years."""
    if targets.dtype.kind in "iu" and (kind := unlikely_classes(targets)):
        raise DataError(
            f"targets are {kind}: give them as floats (y.astype(float)) to fit numbers, or as text "
            "(y.astype(str)) for classes, which model.class_names lists in the order of outputs"
        )


def _size(pair: Any) -> str:
    """Return the shape of the inputs of a split, as in "1500 x 2"."""
    try:
        return " x ".join(map(str, np.shape(pair[0])))
    except (TypeError, ValueError, IndexError):
        return "?"
