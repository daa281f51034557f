"""What a network learned from its training file besides its weights: other files go through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disttrain.data.cells import by_name, place_of
from disttrain.data.dataset import Dataset
from disttrain.data.given import checked_rows
from disttrain.data.importers.frame import as_frame, inputs_of_frame
from disttrain.data.labels import class_numbers, numbers_of
from disttrain.data.normalization import Normalization
from disttrain.data.preparation import Column, Preparation
from disttrain.data.shape import in_words, interchangeable
from disttrain.data.source import ArrayRows
from disttrain.errors import DataError

__all__ = ["Taught"]


@dataclass(frozen=True)
class Taught:
    """Names, shapes and types of the training file; `network` is what sentences call the network.

    `classes` is 0 where targets are `outputs` numbers; `names` is empty where the classes are
    called by their numbers.
    """

    network: str
    shape: tuple[int, ...]
    outputs: int
    classes: int
    normalization: Normalization
    names: tuple[str, ...] = ()
    preparation: Preparation | None = None

    @property
    def called(self) -> tuple[str, ...]:
        """What the classes are called, by number."""
        return self.names or tuple(map(str, range(self.classes)))

    def rows_of(self, inputs: Any) -> ArrayRows:
        """Return an array, lists or a DataFrame as samples of the network. Raises DataError.

        A DataFrame is read as the training table was, columns by name; where that is not known,
        its columns are taken in their order. Its rows with gaps that nothing fills are in `gaps`.
        """
        frame, gaps = as_frame(inputs), ArrayRows.gaps
        if frame is not None and self.preparation is not None:
            inputs, gaps = inputs_of_frame(frame, self.preparation, "the DataFrame")
        rows = checked_rows(inputs, self.shape, self.normalization)
        rows.gaps = gaps
        return rows

    def targets_of(self, targets: Any, rows: int, numbered: bool = False) -> np.ndarray:
        """Return an array or list as targets of `rows` samples. Raises DataError.

        Classes are given by name where they have names, unless `numbered`.
        """
        if self.classes:
            found = class_numbers(targets, () if numbered else self.names)
            wrong = found.size and not 0 <= found.min() <= found.max() < self.classes
        else:
            found = numbers_of(targets)
            wrong = found.shape[1] != self.outputs
        if wrong or len(found) != rows:
            raise DataError(
                f"targets of shape {np.shape(targets)} do not fit {rows} samples and the network "
                f"of {self.network}, which has {self.classes or 'no'} classes and {self.outputs} "
                "outputs"
            )
        return found

    def matched(self, targets: np.ndarray, names: Sequence[str], source: Any) -> np.ndarray:
        """Return the classes `targets` of a file, which calls them `names`, as the network's.

        They are matched by name; by number where the network or the file has no names. Numbers
        that are all names of the network's classes, as 1 to 26, are names. Raises DataError for a
        class that occurs in the file and is none of the network's.
        """
        if not names and self.are_names(targets):
            names = [str(number) for number in range(int(targets.max()) + 1)]
        if not names or not (self.names or all(name.isdecimal() for name in names)):
            return targets
        known = by_name(self.called)
        numbers = np.array([place_of(name, known) for name in names], np.int64)
        found: np.ndarray = numbers[targets]
        if (found < 0).any():
            name = names[int(targets[np.argmax(found < 0)])]
            some = ", ".join(self.called[:10]) + (", ..." if len(self.called) > 10 else "")
            raise DataError(
                f"{source} has the class '{name:.60}', which the network of {self.network} does "
                f"not have: it has {some}; leave these rows out, or train with them"
            )
        return found

    def are_names(self, numbers: np.ndarray) -> bool:
        """Tell whether all of these numbers are names of classes; 1 is that of 01 too."""
        return {str(number) for number in np.unique(numbers).tolist()} <= by_name(self.names).keys()

    def targets_in(self, dataset: Dataset, targets: np.ndarray) -> np.ndarray:
        """Return targets of a data file in the network's numbering. Raises DataError."""
        file, most = dataset.file, max(self.outputs, 2)  # one output tells two classes apart
        names = dataset.class_names or (file.preparation.classes if file.preparation else ())
        same = bool(self.classes) == bool(dataset.classes)
        if same and self.classes:
            targets = self.matched(targets, names, f"data file {file.path}")
        fits = targets.max() < most if dataset.classes else dataset.outputs == self.outputs
        if not (same and fits):
            kind = "classes" if dataset.classes else "numbers a sample"
            raise DataError(
                f"data file {file.path} has {dataset.outputs} {kind} as targets, which the "
                f"{self.outputs} outputs of {self.network} do not fit: give the data that it was "
                "made for"
            )
        return targets

    def inputs_in(self, dataset: Dataset) -> np.ndarray | None:
        """Return which inputs of a data file are those of the network, in order; None: all.

        Columns of tables are matched by name. Raises DataError where they do not fit.
        """
        path, other = dataset.file.path, dataset.file.preparation
        if self.preparation is not None and other is not None:
            chosen = self._columns_in(other, path)
            return None if chosen == list(range(other.width)) else np.array(chosen)
        if not interchangeable(dataset.shape, self.shape):
            raise DataError(
                f"data file {path} has {in_words(dataset.shape)} a sample, but the network of "
                f"{self.network} takes {in_words(self.shape)}: give the data that it was made for"
            )
        return None

    def _columns_in(self, other: Preparation, path: str) -> list[int]:
        assert self.preparation is not None
        theirs = {column.name: column for column in other.columns}
        places = {key: number for number, key in enumerate(_keys(other.columns))}
        for column in self.preparation.columns:
            if column.name not in theirs:
                raise DataError(
                    f"data file {path} has no column '{column.name:.60}', which the training table "
                    f"of {self.network} has: prepare it with that column"
                )
            if not _alike(column, theirs[column.name]):
                raise DataError(
                    f"data file {path} was prepared independently of the training table, and "
                    "its column "
                    f"'{column.name:.60}' became other inputs: give the table itself, or prepare "
                    "it with --like and the data file that was trained on"
                )
        return [places[key] for key in _keys(self.preparation.columns)]


def _keys(columns: Sequence[Column]) -> list[tuple[str, str, str]]:
    """Return a key for each input: its column and what it says of that."""
    found = []
    for column in columns:
        if column.kind == "number":
            found += [(column.name, "number", "")]
        found += [(column.name, "category", category) for category in column.categories]
        found += [(column.name, "missing", "")] * column.indicator
    return found


def _alike(mine: Column, other: Column) -> bool:
    """Tell whether two columns gave the same inputs, but for their order."""
    return (
        (mine.kind, mine.indicator) == (other.kind, other.indicator)
        and sorted(mine.categories) == sorted(other.categories)
        and other.fill in (None, mine.fill)
    )
