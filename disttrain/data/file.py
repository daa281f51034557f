"""Opening a data file: what it holds, checked before anything is read in earnest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.format import CLASSES, FORMAT, PREPARATION, SPLITS, VERSION
from disttrain.data.preparation import Preparation
from disttrain.data.record import open_recorded
from disttrain.errors import DataError
from disttrain.hdf5 import Array, Group, Refused, root_of

LONGEST_TEXT = 16 << 20
"""Of what is kept beside the rows: the names of a million classes, the columns of a wide table."""

__all__ = ["DataFile", "SplitFacts", "looks_like_data", "open_file", "read_facts", "reading"]


@dataclass(frozen=True)
class SplitFacts:
    """The sizes and types of one split, as its header states them, and where its arrays are."""

    name: str
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    target_shape: tuple[int, ...]
    target_dtype: np.dtype[Any]
    stored_inputs: Array
    stored_targets: Array

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
    preparation: Preparation | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, in whichever split: (1,) where each is a single number."""
        return next(iter(self.splits.values())).shape or (1,)

    @property
    def outputs(self) -> int:
        """Numbers in one target."""
        return next(iter(self.splits.values())).outputs


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what is wrong with a data file into a DataError that names it."""
    try:
        yield
    except Refused as error:
        advice = error.advice or "make it again with `disttrain prepare`"
        raise DataError(f"data file {path} can't be read ({error}): {advice}") from None
    except OSError as error:
        cause = error.strerror or str(error)
        raise DataError(f"data file {path} can't be read ({cause}): check the disk") from None


def open_file(path: str) -> Group:
    """Return the root group of the data file at `path`, which stays open as long as it is used."""
    if not Path(path).is_file():
        kind = "is not a file" if Path(path).exists() else "does not exist"
        raise DataError(f"data file {path} {kind}: make it with `disttrain prepare`")
    with reading(path):
        return root_of(open_recorded(path))


def looks_like_data(path: str) -> bool:
    """Return True where `path` is an HDF5 file that says it holds data, or has a group `train`."""
    try:
        root = open_file(path)
        with reading(path):
            return root.attribute("format") == FORMAT or "train" in root.names
    except DataError:
        return False


def read_facts(path: str, names: tuple[str, str] = ("inputs", "targets")) -> DataFile:
    """Return what the data file at `path` holds, from its headers alone.

    Raises DataError for a file that is missing, no HDF5, of another format or version, without a
    group `train`, or whose inputs and targets disagree; and for all that hdf5/ does not read.
    """
    root = open_file(path)
    with reading(path):
        stated = root.attribute("format", FORMAT)
        if stated != FORMAT:
            raise DataError(f"{path} is a {stated!r:.40} file, not a data file")
        version = root.attribute("version", VERSION)
        if version != VERSION:
            raise DataError(f"data file {path} has version {version!r:.40}, not {VERSION}")
        found = {n: _facts(path, root.get(n), n, names) for n in SPLITS if n in root.names}
        classes = root.attribute(CLASSES, None)
        preparation = _text(root, PREPARATION, path)
        if classes is None:
            classes = _list(_text(root, CLASSES, path), path)
    if not isinstance(classes, list):
        raise DataError(f"data file {path} has the classes {classes!r:.40}, which is not a list")
    if "train" not in found and "test" not in found:
        raise DataError(f"data file {path} has neither a group 'train' nor 'test'")
    for facts in found.values():
        first = next(iter(found.values()))
        if facts.kind != first.kind:
            raise DataError(
                f"data file {path}: samples of {facts.name} are {facts.kind}, those of "
                f"{first.name} {first.kind}: prepare them in one way"
            )
    return DataFile(
        path, names, found, tuple(map(str, classes)),
        Preparation.from_json(preparation) if preparation else None,
    )  # fmt: skip


def _text(root: Group, name: str, path: str) -> str:
    """Return the text of an array of bytes, "" where there is none of that name."""
    array = root.get(name) if name in root.names else None
    if not isinstance(array, Array) or array.dtype != np.uint8 or len(array.shape) != 1:
        return ""
    if array.length > LONGEST_TEXT:
        raise DataError(f"data file {path}: '{name}' is longer than {LONGEST_TEXT} bytes")
    try:
        return bytes(array.all()).decode()
    except UnicodeDecodeError:
        raise DataError(f"data file {path}: '{name}' is no text: prepare the data again") from None


def _list(text: str, path: str) -> object:
    try:
        return json.loads(text or "[]")
    except (ValueError, RecursionError):
        raise DataError(f"data file {path}: the names of its classes are damaged") from None


def _facts(path: str, group: object, name: str, names: tuple[str, str]) -> SplitFacts:
    arrays = []
    for part in names:
        array = group.get(part) if isinstance(group, Group) else None
        if not isinstance(array, Array):
            raise DataError(f"data file {path} has no dataset '{name}/{part}'")
        if array.dtype.kind not in "iufb" or not array.shape:
            raise DataError(f"data file {path}: {array.path} does not hold numbers in rows")
        arrays.append(array)
    inputs, targets = arrays
    if inputs.shape[0] != targets.shape[0]:
        raise DataError(
            f"data file {path}: {name} has {inputs.shape[0]} inputs but {targets.shape[0]} targets"
        )
    if not inputs.length or not targets.length:
        raise DataError(f"data file {path}: {name} holds no samples")
    target_shape = targets.shape[1:]
    if targets.dtype.kind in "iu" and target_shape == (1,):
        target_shape = ()
    return SplitFacts(
        name, inputs.shape[0], inputs.shape[1:], inputs.dtype, target_shape, targets.dtype,
        inputs, targets,
    )  # fmt: skip
