"""Decides what the target column of a table holds: class numbers, class names, or quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disttrain.data.format import Array
from disttrain.errors import DataError

__all__ = ["TARGET_NAMES", "Column", "target_array"]

TARGET_NAMES = ("label", "target", "class", "y")
"""What the target column is called where nobody says, in order of preference."""

CLASSES_BELOW = 10_000
"""Whole numbers from here on are taken for quantities, not for class numbers."""


@dataclass(frozen=True)
class Column:
    """The cells of one target column as text, with the line of the file that each is from."""

    path: Path
    name: str
    lines: Sequence[int]
    cells: Sequence[str]

    def error(self, row: int, words: str) -> DataError:
        """Return the error that says what is wrong with one cell."""
        return DataError(f"{self.path}, line {self.lines[row]}, column '{self.name}': {words}")


def target_array(columns: Sequence[Column], regression: bool) -> tuple[Array, list[str] | None]:
    """Return targets, and the names of the classes where the column holds names.

    One column of text or of whole numbers from 0 to 9999 gives classes, (rows,) int64; other
    numbers, several columns, or `regression` give (rows, columns) float32. Raises DataError.
    """
    if regression or len(columns) > 1:
        return np.stack([_quantities(column) for column in columns], axis=1), None
    (column,) = columns
    numbers = [_number(cell) for cell in column.cells]
    texts = [row for row, number in enumerate(numbers) if number is None]
    for row in texts:
        if not column.cells[row]:
            raise column.error(row, "the cell is empty: every row needs a target")
    if len(texts) == len(numbers):
        names, classes = np.unique(np.array(column.cells, dtype=object), return_inverse=True)
        return classes.astype(np.int64), [str(name) for name in names]
    values = _quantities(column)
    if not _all_whole(column):
        return values[:, np.newaxis], None
    whole = np.array(numbers, dtype=np.float64)
    if whole.min() < 0:
        row = int(np.argmax(whole < 0))
        raise column.error(
            row, f"class number {column.cells[row]} is negative: count from 0, or give --regression"
        )
    if whole.max() >= CLASSES_BELOW:
        return values[:, np.newaxis], None
    return whole.astype(np.int64), None


def _quantities(column: Column) -> Array:
    values = np.empty(len(column.cells), dtype=np.float32)
    with np.errstate(over="ignore"):
        for row, cell in enumerate(column.cells):
            number = _number(cell)
            if number is None:
                what = f"'{cell[:40]}' is not a number" if cell else "the cell is empty"
                raise column.error(row, f"{what}, but others in the column are: correct it")
            values[row] = number
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise column.error(row, f"{column.cells[row]} is not a finite number of 4 bytes")
    return values


def _all_whole(column: Column) -> bool:
    return all(float(cell).is_integer() for cell in column.cells)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
