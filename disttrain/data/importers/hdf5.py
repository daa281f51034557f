"""Imports HDF5 files of any layout: the user names the data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from disttrain.data.file import reading
from disttrain.data.foreign import Foreign
from disttrain.data.format import Array, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.checks import checked_inputs, checked_targets, of_one_type
from disttrain.data.importers.classes import FEW_CLASSES, ROWS_OF_CODE
from disttrain.data.importers.doubts import about_inputs
from disttrain.data.importers.targets import Labels
from disttrain.data.record import open_recorded
from disttrain.errors import DataError

__all__ = ["import_hdf5"]

Named = Mapping[str, tuple[str, str]]
"""Split → the data sets of its inputs and of its targets."""


def import_hdf5(
    path: Path, named: Named, *, transposed: bool = False, regression: bool = False
) -> Imported:
    """Read the named data sets of the HDF5 file at `path`.

    Several names with commas between them are columns beside each other; behind the name of a table
    (PyTables, pandas) stands that of a column. `transposed`: all axes are reversed, as MATLAB
    writes them. Targets of text or whole numbers are classes, also where these are stored as
    floats and there are few of them. Raises DataError.
    """
    with reading(str(path)):
        file = _opened(path)
        read = {
            split: [_values(file, path, name, transposed) for name in pair]
            for split, pair in named.items()
        }
    splits, labels = {}, Labels(path, regression)
    for split, (inputs, targets) in read.items():
        inputs_name, name = named[split]
        if targets.shape[0] == 1 and targets.size == len(inputs):
            targets = targets.reshape(-1)
        if len(targets) != len(inputs):
            turned = inputs.shape[-1] == targets.size and not transposed
            raise DataError(
                f"{path}: {inputs_name} has {len(inputs)} rows, but {name} has {len(targets)}"
                + (": give --transposed, as for files of MATLAB" if turned else "")
            )
        if inputs.dtype == np.uint8 and inputs.max(initial=0) <= 1:
            inputs = inputs.astype(np.float32)  # truth values of MATLAB are no pixels
        splits[split] = checked_inputs(inputs, path, inputs_name), _numbered(targets, name, labels)
    made = of_one_type(splits)
    check_splits(made, path)
    classes, notes = labels.classes, (*labels.notes, *about_inputs(made))
    plain = classes == list(map(str, range(len(classes))))
    return Imported(made, None if plain or not classes else classes, notes)


def _opened(path: Path) -> Foreign:
    if not path.is_file():
        raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is no HDF5 file (of MATLAB's only those of version 7.3 are)")
    return Foreign(open_recorded(str(path)))


def _values(file: Foreign, path: Path, names: str, transposed: bool) -> Array:
    """Return the values that `names` stand for, (rows, ...)."""
    found = []
    for name in names.split(","):
        values = file.values(name.strip())
        if values is None or not values.ndim:
            held = "; ".join(file.listed()) or "nothing"
            lacks = f"has no data set '{name.strip():.100}'"
            unnamed = "needs names, by --inputs /PATH and --targets /PATH"
            raise DataError(f"{path} {lacks if name.strip() else unnamed}: it holds {held}")
        found.append(values.T if transposed else values)
    if len(found) == 1:
        return np.asarray(found[0])
    columns = [values.reshape(len(values), -1) for values in found]
    if len({len(values) for values in columns}) > 1:
        counts = ", ".join(str(len(values)) for values in columns)
        raise DataError(f"{path}: {names} have different numbers of rows: {counts}")
    return np.concatenate(columns, axis=1)


def _numbered(targets: Array, name: str, labels: Labels) -> Array:
    """Return targets; where they are classes, `labels` has their names, also of whole numbers."""
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.dtype.kind in "US" and labels.regression:
        raise DataError(f"{labels.path}: {name} holds text, not numbers")
    numbers = labels.classes or _tells_classes(targets)
    if targets.dtype.kind in "US" or labels.regression or not numbers:
        return labels.read(targets, name)
    called = checked_targets(targets.astype(np.float64), labels.path, name)[:, 0]
    distinct, places = np.unique(called, return_inverse=True)
    found = [f"{value:.0f}" for value in distinct.tolist()]
    if not labels.classes:
        labels.classes += found
        if targets.dtype.kind == "f" or len(found) > FEW_CLASSES:
            labels.notes.append(
                f"{name} holds {len(found)} different whole numbers, which are taken for classes: "
                "--regression takes them for quantities"
            )
    known = {value: number for number, value in enumerate(labels.classes)}
    unknown = [value for value in found if value not in known]
    if unknown:
        raise DataError(
            f"{labels.path}: {name} holds the class '{unknown[0]:.60}', which training has not"
        )
    return np.array([known[value] for value in found], np.int64)[places.reshape(-1)]


def _tells_classes(targets: Array) -> bool:
    """Tell whether targets are classes: text, whole numbers, or a few floats that are whole."""
    if targets.ndim != 1 or targets.dtype.kind in "USiub":
        return targets.ndim == 1
    few = len(np.unique(targets))
    whole = np.isfinite(targets).all() and (targets == np.floor(targets)).all()
    return bool(whole and (few <= FEW_CLASSES or few * ROWS_OF_CODE <= len(targets)))
