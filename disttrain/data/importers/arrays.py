"""Imports numpy's own files: an .npz with named arrays, or two .npy files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from disttrain.data.format import ALIASES, Array, Splits, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.checks import checked_inputs, of_one_type
from disttrain.data.importers.doubts import about_classes, about_inputs, about_quantities
from disttrain.data.importers.source import RATIO, SMALL, reading
from disttrain.data.importers.targets import Labels
from disttrain.errors import DataError, DisttrainError, UsageError

__all__ = ["import_npy", "import_npz", "open_npz", "read_npy"]

PAIRS = (("inputs", "targets"), ("x", "y"), ("images", "labels"), ("data", "labels"))
NAMES = {
    split: tuple(
        (f"{word}_{x}", f"{word}_{y}") if first else (f"{x}_{word}", f"{y}_{word}")
        for word in words
        for x, y in PAIRS
        for first in (True, False)
    )
    for split, words in ALIASES.items()
}
NAMES["train"] += (
    *PAIRS,
    ("data", "target"),
    ("features", "labels"),
    ("features", "target"),
    ("arr_0", "arr_1"),
)
"""What the two arrays of each split may be called, in capitals or not."""


def import_npz(path: Path, *, regression: bool = False) -> Imported:
    """Read the arrays of an .npz file.

    Inputs are (rows, ...) of any numeric dtype; targets of whole numbers or text are classes, as
    are rows with a single 1 among zeros; other floats are for regression. Raises DataError that
    says which arrays are there if the needed ones are not.
    """
    splits: dict[str, tuple[Array, Array]] = {}
    labels, notes = Labels(path, regression), list[str]()
    with open_npz(path) as (file, names):
        left = sorted(set(file.files) - {name for pair in names.values() for name in pair})
        if left:
            some = ", ".join(left[:10]) + ", ..." * (len(left) > 10)
            notes.append(f"passed over the array{'s' * (len(left) > 1)} {some}")
        for split, (inputs, targets) in names.items():
            splits[split] = (
                checked_inputs(file[inputs], path, inputs),
                labels.read(file[targets], targets),
            )
    return _imported(splits, path, labels, notes)


@contextmanager
def open_npz(
    path: Path, labelled: bool = True
) -> Iterator[tuple[np.lib.npyio.NpzFile, dict[str, tuple[str, str]]]]:
    """Open an .npz file; give it with the names of the inputs and targets of each split.

    Unless `labelled` the targets need not be there, nor has a single array to have a known name.
    Raises DataError, also for errors met later, inside the `with` block.
    """
    with _refusals(path):
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UsageError(f"{path} is a single array: give the targets' file with --targets")
        with loaded as file:
            _refuse_promises_in(path)
            yield file, _names_in(file.files, path) if labelled else _inputs_in(file.files, path)


def import_npy(inputs: Path, targets: Path, *, regression: bool = False) -> Imported:
    """Read two .npy files, the inputs without loading them whole into memory.

    Shapes and errors are as in `import_npz`.
    """
    arrays = [read_npy(path) for path in (inputs, targets)]
    labels = Labels(targets, regression)
    splits = {"train": (checked_inputs(arrays[0], inputs), labels.read(arrays[1], "targets"))}
    return _imported(splits, f"{inputs} with {targets}", labels, [])


def _imported(splits: Splits, source: Path | str, labels: Labels, notes: list[str]) -> Imported:
    """Return splits that fit each other, with notes of what they are likely to be besides."""
    made = of_one_type(splits)
    check_splits(made, source)
    notes = [*notes, *labels.notes, *about_inputs(made)]
    notes += about_quantities(made, labels.regression)
    if not labels.classes:
        notes += about_classes(made, labels.path)
    return Imported(made, labels.classes or None, tuple(notes))


def read_npy(path: Path) -> Array:
    """Return the array of an .npy file, its values read when they are used; it is read-only.

    Raises DataError for a file that holds less than its header says, or Python objects.
    """
    with _refusals(path):
        if zipfile.is_zipfile(path):
            raise UsageError(
                f"{path} is an .npz file, with several arrays: to prepare it give it alone, to "
                "predict give one .npy file"
            )
        with path.open("rb") as file:
            _refuse_promises(file, path.stat().st_size)
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _names_in(files: list[str], path: Path) -> dict[str, tuple[str, str]]:
    """Find, for each split, what its two arrays are called in this file."""
    spelled = {name.lower(): name for name in files}
    found: dict[str, tuple[str, str]] = {}
    for split, pairs in NAMES.items():
        halves = [pair for pair in pairs if any(name in spelled for name in pair)]
        whole = [pair for pair in halves if all(name in spelled for name in pair)]
        if whole:
            found[split] = (spelled[whole[0][0]], spelled[whole[0][1]])
        elif halves:
            here, missing = sorted(halves[0], key=lambda name: name not in spelled)
            raise DataError(f"{path} holds '{spelled[here]}' but no '{missing}': add it")
    if "train" not in found:
        raise DataError(
            f"{path} holds no inputs and targets under a known name; it holds "
            f"{', '.join(files) or 'nothing'}: name them inputs and targets, or x_train and y_train"
        )
    return found


def _inputs_in(files: list[str], path: Path) -> dict[str, tuple[str, str]]:
    """Find, for each split, what its inputs are called in this file."""
    spelled = {name.lower(): name for name in files}
    found = {}
    for split, pairs in NAMES.items():
        names = [spelled[inputs] for inputs, _ in pairs if inputs in spelled]
        if names:
            found[split] = (names[0], "")
    if not found and len(files) == 1:
        return {"inputs": (files[0], "")}
    if not found:
        raise DataError(
            f"{path} holds no inputs under a known name; it holds {', '.join(files) or 'nothing'}: "
            "call them inputs"
        )
    return found


def _refuse_promises_in(path: Path) -> None:
    """Refuse an archive of which more would be unpacked than the file is likely to hold."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            # The other ways unpack as much as they like at once, whatever is asked of them.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{path} holds {member.filename!r:.60} packed in a way that numpy never uses: "
                    "save it again with numpy.savez_compressed if you trust it"
                )
        # More than a member declares is never unpacked of it.
        declared = sum(member.file_size for member in members)
        if declared > max(SMALL, RATIO * path.stat().st_size):
            raise DataError(
                f"{path} unpacks to {declared} bytes, more than {RATIO} times its size: save it "
                "again with numpy.savez if you trust it"
            )
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    _refuse_promises(stream, member.file_size)


def _refuse_promises(file: IO[bytes], length: int) -> None:
    """Refuse an array whose header promises more than there is, before memory is asked for it."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its version {version} is for arrays of records")
    if dtype.hasobject:
        raise ValueError("Python objects")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > length:
        raise ValueError(f"an array of shape {shape} is larger than the file")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what numpy and zip say about a bad file into a DataError."""
    try:
        with reading(path):
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise DataError(f"{path} is a pipe or a device: give a file")
            if path.is_file() and path.stat().st_size == 0:
                raise DataError(f"{path} is empty: save it again")
            yield
    except DisttrainError:
        raise
    # numpy and zip report damage by errors of many classes, down to those of Python's parser.
    except Exception as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise DataError(
                f"{path} is not an array file or holds Python objects, which could run code and "
                "are not loaded: save plain numbers, and labels as text (labels.astype(str)), with "
                "numpy.save or numpy.savez"
            ) from error
        raise DataError(f"{path} is damaged or truncated ({error}): save it again") from error
