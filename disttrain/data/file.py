"""Opening a data file: its headers, checked before its arrays are read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.foreign import Foreign
from disttrain.data.format import ALIASES, PREPARATION, SPLITS, UNLABELLED, WEIGHTS
from disttrain.data.preparation import Preparation
from disttrain.data.record import Layout, layout_of, open_recorded
from disttrain.data.stored import Array, Refused, Zeros
from disttrain.errors import DataError

__all__ = ["DataFile", "SplitFacts", "looks_like_data", "open_file", "read_facts", "reading"]


# What is no data file, and what makes one of it.
TABLES = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".npz": "npz"}


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
    stored_weights: Array | None = None

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
        return self.target_dtype.kind in "iub" and not self.target_shape


@dataclass(frozen=True)
class DataFile:
    """What a data file holds; `names` are the datasets' names for inputs and targets.

    `unlabelled` are rows that have no targets.
    """

    path: str
    names: tuple[str, str]
    splits: dict[str, SplitFacts]
    class_names: tuple[str, ...]
    preparation: Preparation | None = None
    unlabelled: SplitFacts | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, in whichever split: (1,) where each is a single number."""
        return next(iter(self.splits.values())).shape or (1,)

    @property
    def outputs(self) -> int:
        """Numbers in one target."""
        return next(iter(self.splits.values())).outputs

    def facts_of(self, name: str) -> SplitFacts:
        """Return the facts of a split, or of the rows without targets."""
        rows = self.unlabelled if name == UNLABELLED else self.splits[name]
        assert rows is not None
        return rows


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


def open_file(path: str) -> Layout | Foreign:
    """Return what the data file at `path` holds; it stays open as long as that is used.

    A file of ours is read by the layout behind it; HDF5's library is asked where there is none.
    """
    if not Path(path).is_file():
        kind = "is not a file" if Path(path).exists() else "does not exist"
        raise DataError(
            f"data file {path} {kind}: make it with `disttrain prepare`, or name the place where "
            "it is now (data.path; --data of evaluate)"
        )
    if (suffix := Path(path).suffix.lower()) in TABLES:
        made = shlex.join([path, f"{Path(path).stem}.h5"])
        raise DataError(
            f"{path} is no data file: `disttrain prepare {TABLES[suffix]} {made}` makes one of it"
        )
    with reading(path):
        source = open_recorded(path)
        return layout_of(source) or Foreign(source)


def _how_to_prepare(path: str) -> str:
    """Return what to do with an HDF5 file of another program whose arrays lie elsewhere."""
    return (
        f": it is HDF5 of another program; `disttrain prepare hdf5 {shlex.quote(path)} data.h5` "
        "lists its arrays, and makes a data file of those that --inputs and --targets name"
    )


def _others(held: Layout | Foreign) -> str:
    """Return which arrays a file of another program has, and how a run file names them."""
    if not isinstance(held, Foreign) or held.ours:
        return ""
    return (
        f": it holds {'; '.join(held.listed()) or 'nothing'}; name the arrays in its groups by "
        "data.inputs and data.targets in the run file"
    )


def looks_like_data(path: str) -> bool:
    """Return True where `path` is a data file of ours, or an HDF5 file with a group `train`."""
    try:
        held = open_file(path)
        with reading(path):
            return held.ours or bool(_group(held, "train"))
    except DataError:
        return False


def read_facts(
    path: str, names: tuple[str, str] = ("inputs", "targets"), labelled: bool = True
) -> DataFile:
    """Return what the data file at `path` holds, from its headers alone.

    Unless `labelled` its targets are not looked at, and are zeros; then inputs may also lie outside
    of all groups, and are called `test`.

    Raises DataError for a file that is missing, no HDF5, of another version, without a group
    `train` or `test`, or whose inputs and targets disagree; and for all that is not read.
    """
    held = open_file(path)
    with reading(path):
        groups = {split: _group(held, split) for split in SPLITS}
        if not labelled and not any(groups.values()) and held.get(names[0]):
            groups["test"] = "."
        found = {
            split: _facts(path, held, split, group, names, labelled)
            for split, group in groups.items()
            if group
        }
        without = None
        if held.has(UNLABELLED):
            without = _facts(path, held, UNLABELLED, UNLABELLED, names, False)
        preparation = held.text(PREPARATION)
    if "train" not in found and "test" not in found:
        how = "" if held.ours else _how_to_prepare(path)
        raise DataError(f"data file {path} has neither a group 'train' nor 'test'{how}")
    first = next(iter(found.values()))
    for facts in found.values():
        if facts.kind != first.kind:
            raise DataError(
                f"data file {path}: samples of {facts.name} are {facts.kind}, those of "
                f"{first.name} {first.kind}: prepare them in one way"
            )
    if without and (without.dtype, without.shape) != (first.dtype, first.shape):
        raise DataError(
            f"data file {path}: samples of {UNLABELLED} are {without.dtype} of shape "
            f"{without.shape}, those of {first.name} {first.kind}: prepare them in one way"
        )
    return DataFile(
        path, names, found, held.classes,
        Preparation.from_json(preparation) if preparation else None, without,
    )  # fmt: skip


def _group(held: Layout | Foreign, split: str) -> str:
    """Return what a file calls a split, "" where it has none."""
    names = (name for alias in ALIASES[split] for name in (alias, alias.capitalize()))
    return next((name for name in names if held.has(name)), "")


def _facts(
    path: str, held: Layout | Foreign, name: str, group: str, names: tuple[str, str], labelled: bool
) -> SplitFacts:
    arrays: list[Array] = []
    for part in names[: 1 + labelled]:
        array = held.get(f"{group}/{part}")
        if array is None:
            raise DataError(f"data file {path} has no dataset '{group}/{part}'{_others(held)}")
        if not array.shape:
            raise DataError(f"data file {path}: {array.path} does not hold numbers in rows")
        arrays.append(array)
    inputs = arrays[0]
    targets = arrays[1] if labelled else Zeros("no targets", inputs.shape[:1], np.dtype(np.int64))
    if inputs.shape[0] != targets.shape[0]:
        raise DataError(
            f"data file {path}: {name} has {inputs.shape[0]} inputs but {targets.shape[0]} targets"
        )
    if not inputs.length or not targets.length:
        raise DataError(f"data file {path}: {name} holds no samples")
    target_shape = targets.shape[1:]
    if targets.dtype.kind in "iub" and target_shape == (1,):
        target_shape = ()
    return SplitFacts(
        name, inputs.shape[0], inputs.shape[1:], inputs.dtype, target_shape, targets.dtype,
        inputs, targets, held.get(f"{group}/{WEIGHTS}") if labelled and held.ours else None,
    )  # fmt: skip
