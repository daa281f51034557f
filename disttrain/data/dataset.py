"""A data set ready for training: splits with their targets, where validation comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from disttrain.comm import Communicator
from disttrain.config import Data
from disttrain.data.file import DataFile, read_facts, reading
from disttrain.data.format import UNLABELLED, WEIGHTS, check_weights
from disttrain.data.labelled import REST, Chosen, label, unlabelled_rows
from disttrain.data.labels import counts_from_0
from disttrain.data.source import JoinedRows, PickedRows, Rows, SharedRows, StreamedRows
from disttrain.data.split import set_aside
from disttrain.errors import DataError, UsageError
from disttrain.memory import free_memory

__all__ = ["Dataset", "Split", "open_dataset", "open_whole"]

# Part of the memory that is free on a node which a data set may take before it is streamed.
MEMORY_FRACTION = 0.5
# Of one number among the targets, while it is read: as stored and as float64 or int64.
TARGET_BYTES = 16


@dataclass(frozen=True)
class Split:
    """Samples and their targets: classes (int64), or numbers of shape (samples, outputs).

    `weights` (samples,) float32 say how much each sample counts; None: each counts as 1.
    """

    name: str
    rows: Rows
    targets: np.ndarray
    weights: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.rows.count


@dataclass(frozen=True)
class Dataset:
    """The splits of a data file; `classes` is 0 where targets are numbers to be fitted.

    `class_names` are those of the file, or 1 to K where it has no names and its labels are these.
    `numbers` are the rows of the file that the samples of each split are; `without` are rows that
    are used without targets, where pre-training asks for them. One that is `lent` is closed by its
    owner, and by nobody else.
    """

    file: DataFile
    splits: dict[str, Split]
    classes: int
    class_names: tuple[str, ...]
    streamed: bool
    numbers: dict[str, np.ndarray]
    lent: bool = False
    without: Split | None = None

    @property
    def every_row(self) -> Rows:
        """All rows whose inputs are trained on: those with targets, then those without."""
        rows = self.splits["train"].rows
        return JoinedRows([rows, self.without.rows]) if self.without else rows

    def lend(self) -> Dataset:
        """Return the same data for a run that does not own them, also in a group of the ranks."""
        return replace(self, lent=True)

    def picked(self, rows: Mapping[str, np.ndarray]) -> Dataset:
        """Return the data with other splits, each of the training rows of these numbers; lent."""
        train, own = self.splits["train"], self.numbers["train"]
        splits = {
            name: Split(
                name, PickedRows(train.rows, numbers), train.targets[numbers],
                None if train.weights is None else train.weights[numbers],
            )
            for name, numbers in rows.items()
        }  # fmt: skip
        numbers = {name: own[picked] for name, picked in rows.items()}
        return replace(self, splits=splits, numbers=numbers, lent=True)

    def close(self, comm: Communicator) -> None:
        """Give shared memory back; the rows can't be used any more. Collective."""
        if self.lent:
            return
        for split in (*self.splits.values(), *([self.without] if self.without else [])):
            split.rows.close(comm)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.file.shape

    @property
    def outputs(self) -> int:
        """Units that a network's last layer must have."""
        return self.classes or self.file.outputs


def open_dataset(
    settings: Data, seed: int, comm: Communicator, only: str | None = None, without: bool = False
) -> Dataset:
    """Return the data set of a run file, read once per node where it fits in memory. Collective.

    `only` names the one split that is wanted; `without` asks for the rows that are used without
    targets too.

    Where the file has no validation split, `settings.validation_fraction` of the training rows
    become one. Raises on all ranks, with DataError's code, for anything wrong with the file, and
    with UsageError's where there is no split `only`.
    """
    with comm.together("opening data"):
        file = read_facts(str(Path(settings.path).absolute()), (settings.inputs, settings.targets))
        targets, names = _from_one(file, {name: _targets(file, name) for name in file.splits})
        if not names and "train" in targets and targets["train"].ndim == 1:
            _refuse_other_counting(file, targets)
        rows = {name: (name, np.arange(len(t))) for name, t in targets.items()}
        if "train" in rows and "validation" not in rows and settings.validation_fraction:
            own = seed if settings.split_seed is None else settings.split_seed
            kept, aside = set_aside(targets["train"], settings.validation_fraction, own)
            if len(aside) and len(kept):
                rows |= {"train": ("train", kept), "validation": ("train", aside)}
        rest = label(rows, targets, settings, seed)
        rows = _wanted(rows, only, file)
        if without:
            rows |= unlabelled_rows(file, rest, settings.unlabelled)
    return _read(file, targets, names, rows, settings, comm)


def open_whole(
    settings: Data, comm: Communicator, *, labelled: bool = True, only: str | None = None
) -> Dataset:
    """Return all rows of a file that is not trained on, or those of the split `only`. Collective.

    Unless `labelled` it needs no targets, and all are 0. Raises as `open_dataset` does.
    """
    with comm.together("opening data"):
        names = settings.inputs, settings.targets
        file = read_facts(str(Path(settings.path).absolute()), names, labelled)
        rows = {name: (name, np.arange(facts.rows)) for name, facts in file.splits.items()}
        rows = _wanted(rows, only, file)
        targets = {name: _targets(file, name) for name in rows}
    return _read(file, targets, file.class_names, rows, settings, comm)


def _wanted(rows: Chosen, only: str | None, file: DataFile) -> Chosen:
    if only is None:
        return rows
    if only not in rows:
        raise UsageError(
            f"{file.path} has no split {only!r}: name {' or '.join(rows)} by --split (in Python "
            "split=...)"
        )
    return {only: rows[only]}


def _read(
    file: DataFile, targets: dict[str, np.ndarray], names: tuple[str, ...], rows: Chosen,
    settings: Data, comm: Communicator,
) -> Dataset:  # fmt: skip
    """Return the data set of the chosen rows: in memory, or streamed. Collective."""
    with comm.together("opening data"):
        classes = _classes(file, targets, names)
        needed = sum(_bytes(file, split, r) for split, r in rows.values())
        fits = needed < min(MEMORY_FRACTION * free_memory(), comm.shared_room)
        if settings.memory == "shared" and needed >= comm.shared_room:
            raise DataError(
                f"data file {file.path} needs {needed:,.0f} bytes of shared memory and this node "
                f'has {comm.shared_room:,.0f}: use data.memory = "stream", or enlarge /dev/shm'
            )
        weights = {name: _weights(file, split, r) for name, (split, r) in rows.items()}
    memory = settings.memory
    streamed = memory == "stream" or (memory == "auto" and not all(comm.collect(fits)))
    splits = {}
    for name, (split, numbers) in rows.items():
        source: Rows
        if streamed:
            source = StreamedRows(file, split, numbers, settings.block_rows)
        else:
            source = SharedRows(file, split, numbers, comm)
            with comm.together("reading data"):
                source.load(settings.block_rows, comm)
        own = targets[split][numbers] if split in targets else np.zeros(len(numbers), np.int64)
        splits[name] = Split(name, source, own, weights[name])
    parts = [splits.pop(name).rows for name in (REST, UNLABELLED) if name in splits]
    without = None
    if parts:
        joined = JoinedRows(parts)
        without = Split(UNLABELLED, joined, np.zeros(joined.count, np.int64))
    rows_of = {name: numbers for name, (_, numbers) in rows.items() if name in splits}
    return Dataset(file, splits, classes, names, streamed, rows_of, without=without)


def _targets(file: DataFile, split: str) -> np.ndarray:
    """Return all targets of a split: int64 classes, or float64 of shape (rows, outputs)."""
    facts = file.splits[split]
    needed = facts.rows * (np.dtype(np.int64).itemsize + facts.outputs * TARGET_BYTES)
    if needed > (room := MEMORY_FRACTION * free_memory()):
        raise DataError(
            f"data file {file.path}: the {facts.rows} targets of {split} need {needed:,.0f} bytes "
            f"of memory, and this node has {room:,.0f} for them: use a node with more"
        )
    with reading(file.path):
        targets = facts.stored_targets.all()
    if facts.has_classes:
        if targets.min() < 0:
            row = int(np.argmin(targets))
            raise DataError(
                f"data file {file.path}: {split}/{file.names[1]} row {row} is "
                f"{int(targets.min())}: classes count from 0"
            )
        return targets.reshape(len(targets)).astype(np.int64)
    if not np.isfinite(targets).all():
        row = int(np.flatnonzero(~np.isfinite(targets.reshape(len(targets), -1)).all(axis=1))[0])
        raise DataError(
            f"data file {file.path}: {split}/{file.names[1]} row {row} holds NaN or infinity"
        )
    return targets.reshape(len(targets), -1).astype(np.float64)


def _weights(file: DataFile, split: str, rows: np.ndarray) -> np.ndarray | None:
    """Return how much each of the `rows` of a split counts, where the file says that."""
    facts = file.facts_of(split)
    if facts.stored_weights is None:
        return None
    with reading(file.path):
        weights: np.ndarray = facts.stored_weights.all().astype(np.float32)
    check_weights(weights, facts.rows, f"data file {file.path}, {split}/{WEIGHTS}")
    return np.asarray(weights[rows])


def _from_one(
    file: DataFile, targets: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return targets and names of classes: where nothing names labels 1 to K, these are names.

    Else a network would have a unit for a class 0 that no row is of.
    """
    if file.class_names or file.preparation or any(t.ndim > 1 for t in targets.values()):
        return targets, file.class_names
    found = np.unique(np.concatenate(list(targets.values())))
    if len(found) < 2 or not np.array_equal(found, np.arange(1, len(found) + 1)):
        return targets, file.class_names
    return {name: each - 1 for name, each in targets.items()}, tuple(map(str, found.tolist()))


def _refuse_other_counting(file: DataFile, targets: dict[str, np.ndarray]) -> None:
    """Raise DataError where the training counts classes from 1 and other rows from 0."""
    for name, own in targets.items():
        if counts_from_0(own, targets["train"]):
            raise DataError(
                f"data file {file.path}: the classes of train count from 1 (1 to {own.max() + 1}), "
                f"but those of {name} from 0: count both from 0"
            )


def _classes(file: DataFile, targets: dict[str, np.ndarray], names: tuple[str, ...]) -> int:
    """Return the number of classes: of the names, or one more than the largest label."""
    if not next(iter(file.splits.values())).has_classes:
        return 0
    largest = max((int(t.max()), name) for name, t in targets.items())
    if names and largest[0] >= len(names):
        raise DataError(
            f"data file {file.path}: {largest[1]} holds class {largest[0]}, but only "
            f"{len(names)} classes are named (0 to {len(names) - 1})"
        )
    return len(names) or largest[0] + 1


def _bytes(file: DataFile, split: str, rows: np.ndarray) -> int:
    facts = file.facts_of(split)
    return len(rows) * facts.inputs * facts.dtype.itemsize
