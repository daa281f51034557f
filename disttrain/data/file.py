"""Opening a data file: what it holds, checked before anything is read in earnest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from disttrain.data.format import FORMAT, SPLITS, VERSION
from disttrain.errors import DataError

__all__ = ["DataFile", "SplitFacts", "open_file", "read_facts"]


@dataclass(frozen=True)
class SplitFacts:
    """The sizes and types of one split, as its header states them."""

    name: str
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    target_shape: tuple[int, ...]
    target_dtype: np.dtype[Any]

    @property
    def kind(self) -> str:
        """What all splits of a file have in common."""
        targets = "classes" if self.has_classes else f"{self.outputs} numbers"
        return f"{self.dtype} of shape {self.shape} with {targets}"

    @property
    def inputs(self) -> int:
        """Numbers in one sample."""
        return math.prod(self.shape)

    @property
    def outputs(self) -> int:
        """Numbers in one target."""
        return math.prod(self.target_shape)

    @property
    def has_classes(self) -> bool:
        """True where targets are classes, False where they are numbers to be fitted."""
        return self.target_dtype.kind in "iu" and not self.target_shape


@dataclass(frozen=True)
class DataFile:
    """What a data file holds; `names` are the datasets' names for inputs and targets."""

    path: str
    names: tuple[str, str]
    splits: dict[str, SplitFacts]
    class_names: tuple[str, ...]


@contextmanager
def open_file(path: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; a failure of the file's in the body is a DataError."""
    if not Path(path).is_file():
        kind = "is not a file" if Path(path).exists() else "does not exist"
        raise DataError(f"data file {path} {kind}: make it with `disttrain prepare`")
    try:
        # Readers never meet a half-written file (it is renamed when whole), and locks fail on
        # some network file systems: they are taken only where that works.
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"data file {path} can't be read ({reason}): make it again with `disttrain prepare`"
        ) from None


def read_facts(path: str, names: tuple[str, str] = ("inputs", "targets")) -> DataFile:
    """Return what the data file at `path` holds, from its headers alone.

    Raises DataError for a file that is missing, no HDF5, of another format or version, without a
    group `train`, or whose inputs and targets disagree.
    """
    with open_file(path) as file:
        stated = file.attrs.get("format", FORMAT)
        if stated != FORMAT:
            raise DataError(f"{path} is a {stated} file, not a data file")
        if file.attrs.get("version", VERSION) != VERSION:
            raise DataError(f"data file {path} has version {file.attrs['version']}, not {VERSION}")
        found = {name: _facts(path, file[name], name, names) for name in SPLITS if name in file}
        class_names = tuple(
            c.decode() if isinstance(c, bytes) else str(c) for c in file.attrs.get("classes", ())
        )
    if "train" not in found and "test" not in found:
        raise DataError(f"data file {path} has neither a group 'train' nor 'test'")
    for facts in found.values():
        first = next(iter(found.values()))
        if facts.kind != first.kind:
            raise DataError(
                f"data file {path}: samples of {facts.name} are {facts.kind}, those of "
                f"{first.name} {first.kind}: prepare them in one way"
            )
    return DataFile(path, names, found, class_names)


def _facts(path: str, group: Any, name: str, names: tuple[str, str]) -> SplitFacts:
    for dataset in names:
        if not isinstance(group, h5py.Group) or not isinstance(group.get(dataset), h5py.Dataset):
            raise DataError(f"data file {path} has no dataset '{name}/{dataset}'")
    inputs, targets = group[names[0]], group[names[1]]
    for dataset in (inputs, targets):
        if dataset.dtype.kind not in "iufb" or dataset.ndim < 1:
            raise DataError(f"data file {path}: {dataset.name} does not hold numbers in rows")
    if len(inputs) != len(targets):
        raise DataError(
            f"data file {path}: {name} has {len(inputs)} inputs but {len(targets)} targets"
        )
    if not len(inputs) or not math.prod(inputs.shape[1:]):
        raise DataError(f"data file {path}: {name} holds no samples")
    target_shape = targets.shape[1:]
    if targets.dtype.kind in "iu" and target_shape == (1,):
        target_shape = ()
    return SplitFacts(
        name, len(inputs), inputs.shape[1:], inputs.dtype, target_shape, targets.dtype
    )
