"""Targets of arrays, split after split: numbers, or classes by number, by name or by column."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.cells import NA, number_in
from disttrain.data.format import Array, check_names
from disttrain.data.importers.checks import checked_targets, is_one_hot
from disttrain.data.importers.classes import UNIQUE, capitals, says_nothing
from disttrain.data.labels import in_order
from disttrain.errors import DataError

__all__ = ["Labels"]

MISSING = (*NA, "None", "NaT")
"""What a missing label is after numpy or pandas made text of it."""


class Labels:
    """Reads the targets of one file, those of the training first.

    `classes` are the names that the training's texts gave, in their order; empty for numbers.
    `notes` are sentences for the user.
    """

    def __init__(self, path: Path, regression: bool) -> None:
        self.path, self.regression = path, regression
        self.classes, self.notes = list[str](), list[str]()
        self._columns = 0

    def read(self, array: Array, name: str) -> Array:
        """Return targets as `checked_targets` does, texts as classes; blanks around don't count.

        Raises DataError for a class that the training has not, for another number of columns with a
        single 1 than there, and for texts that are quantities.
        """
        if array.dtype.kind in "US" and not self.regression:
            return self._by_name(array, name)
        self._refuse_other_columns(array, name)
        found = checked_targets(array, self.path, name, regression=self.regression)
        if not self._columns:
            self._columns = int(found.max()) + 1 if found.dtype.kind == "i" else found.shape[1]
        return found

    def _by_name(self, array: Array, name: str) -> Array:
        texts = [text.strip() for text in map(_text, array.ravel().tolist())]
        if not self.classes:
            different = set(texts)
            self._refuse_quantities(different, name)
            if len(different) == len(texts) > UNIQUE:
                self.notes.append(
                    f"{name} holds another text in every row, which classes seldom do: check which "
                    "array has the targets"
                )
            self.classes += in_order(different)
            check_names(self.classes, f"{self.path}: {name}")
            self.notes += capitals(name, self.classes)
            self.notes += [
                f"'{text}' is a class in {name}: where it says that a class is missing, leave "
                "these rows out" for text in self.classes if text in MISSING or says_nothing(text)
            ]  # fmt: skip
        numbers = {text: number for number, text in enumerate(self.classes)}
        unknown = next((text for text in texts if text not in numbers), None)
        if unknown is not None:
            raise DataError(
                f"{self.path}: {name} holds the class '{unknown:.40}', which training has not"
            )
        return checked_targets(np.array([numbers[text] for text in texts]), self.path, name)

    def _refuse_quantities(self, different: set[str], name: str) -> None:
        """Raise DataError for texts that are quantities."""
        broken = sorted(text for text in different if not _is_whole(text))
        if broken and not any(np.isnan(number_in(text)) for text in different):
            raise DataError(
                f"{self.path}: {name} are texts such as '{broken[0]:.40}', which are numbers: save "
                "them as such (y.astype(float)), or give other texts as names of classes"
            )

    def _refuse_other_columns(self, array: Array, name: str) -> None:
        """Raise DataError where classes are columns, and there are others than in the training."""
        if self.regression or not is_one_hot(array):
            return
        if array.shape[1] != (self._columns or array.shape[1]):
            raise DataError(
                f"{self.path}: {name} has {array.shape[1]} columns of classes, but the training "
                f"has {self._columns} classes: give a column for each of these, in the same order"
            )
        self._columns = array.shape[1]


def _text(value: str | bytes) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _is_whole(text: str) -> bool:
    value = number_in(text)
    return bool(np.isfinite(value) and value == np.floor(value))
