"""What the columns of a table hold, found by reading it once, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from disttrain.data.cells import as_texts, number_in
from disttrain.data.format import Array
from disttrain.data.importers.table import Table
from disttrain.errors import DataError

if TYPE_CHECKING:
    import pandas

__all__ = ["MOST_TEXTS", "Survey", "survey"]

MOST_TEXTS = 100_000
"""Different cells of a column that are counted; of one that has more the first ones stand there."""

EXACT = 1 << 24
"""The first whole number behind which float32 leaves some out."""

WHOLE = 1 << 53
"""The same of float64."""


@dataclass
class Survey:
    """Facts of each column, in arrays with one number for each column.

    `present` cells are not empty; of those that are numbers `least`, `most`, `total`, and whether
    all are `whole`. `odd[n]` is the row of the first cell of column `n` that is no number, where
    there is one; `texts[n]` counts the different cells of such a column, complete if no block of it
    was of numbers alone, and of a column that was to be read as text. `same[n]` are up to two whole
    numbers, as texts, of a column of which float64 makes one number. `first` are the cells of the
    first column as long as all are whole numbers, else None.
    """

    rows: int
    present: Array
    numbers: Array
    first_missing: Array
    least: Array
    most: Array
    total: Array
    whole: Array
    texts: dict[int, dict[str, int]]
    decimal: str
    odd: dict[int, int] = field(default_factory=dict)
    same: dict[int, set[str]] = field(default_factory=dict)
    first: list[Array] | None = field(default_factory=list)

    @property
    def numbers_rows(self) -> bool:
        """Tell whether the first column is another whole number of 0 or more in every row."""
        if self.first is None:
            return False
        cells = np.concatenate(self.first)
        return len(cells) > 0 and cells.min() >= 0 and len(np.unique(cells)) == len(cells)

    def missing(self, number: int) -> int:
        """Return how many cells of a column are missing."""
        return int(self.rows - self.present[number])

    def mixed(self, number: int) -> bool:
        """Tell whether a column holds numbers and also cells that are none."""
        return number in self.odd and bool(self.numbers[number])

    def too_close(self) -> Array:
        """Return which columns hold numbers that float64 does not tell apart either."""
        size, spread = np.maximum(np.abs(self.least), np.abs(self.most)), self.most - self.least
        close = np.asarray((spread > 0) & np.isfinite(size) & (size * 2.0**-53 > 1e-4 * spread))
        close[[number for number, texts in self.same.items() if len(texts) > 1]] = True
        return close

    def needs_float64(self) -> Array:
        """Return of which columns float32 would lose what tells their numbers apart."""
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.maximum(np.abs(self.least), np.abs(self.most))
            lost = size / EXACT > 1e-4 * (self.most - self.least)
            too_large = np.isfinite(size) & (size > np.finfo(np.float32).max)
        varies = self.most > self.least
        large = varies & np.where(self.whole, size > EXACT, lost) | too_large
        return np.asarray(large | self.too_close())


def survey(table: Table, decimal: str, texts: Collection[int], classes: Collection[int]) -> Survey:
    """Return what the columns of a table hold; `texts` are read as text. Raises DataError."""
    count = len(table.names)
    found = Survey(
        0, np.zeros(count, np.int64), np.zeros(count, np.int64), np.full(count, -1),
        np.full(count, np.inf), np.full(count, -np.inf), np.zeros(count), np.ones(count, bool),
        {number: {} for number in texts}, decimal,
    )  # fmt: skip
    for block in table.blocks(texts, classes):
        if not len(block):
            continue
        plain = [n for n, t in enumerate(block.dtypes) if n not in texts and t.kind in "biuf"]
        if len(plain) == count:
            values = block.to_numpy(np.float64, na_value=np.nan)
            filled = ~np.isnan(values)
        else:
            values, filled = _values(found, block, plain, texts)
        _add(found, values, filled)
        for number in np.flatnonzero((found.least == found.most) & (found.most >= WHOLE)).tolist():
            digits = set(filter(str.isdecimal, as_texts(block[number])))
            found.same[number] = {*sorted(found.same.get(number, set()) | digits)[:2]}
    if not found.rows:
        raise DataError(f"{table.path} holds a header but no rows: add rows")
    return found


def _values(
    found: Survey, block: pandas.DataFrame, plain: Sequence[int], texts: Collection[int]
) -> tuple[Array, Array]:
    """Return the numbers of a block, NaN where a cell is none, and where there are cells at all."""
    values = np.full(block.shape, np.nan)
    if plain:
        values[:, plain] = block[list(plain)].to_numpy(np.float64, na_value=np.nan)
    filled = ~np.isnan(values)
    for number in set(range(block.shape[1])) - set(plain):
        cells = as_texts(block[number])
        filled[:, number] = list(map(bool, cells))
        different = Counter(cells)
        if number not in texts:
            meant = {cell: number_in(cell, found.decimal) for cell in different if cell}
            values[:, number] = [meant.get(cell, np.nan) for cell in cells]
            odd = filled[:, number] & np.isnan(values[:, number])
            if not odd.any():
                continue
            found.odd.setdefault(number, found.rows + int(np.argmax(odd)))
        counts = found.texts.setdefault(number, {})
        for cell, count in different.items():
            if cell and (cell in counts or len(counts) <= MOST_TEXTS):
                counts[cell] = counts.get(cell, 0) + count
    return values, filled


def _add(found: Survey, values: Array, filled: Array) -> None:
    """Add the facts of a block."""
    numbers = ~np.isnan(values)
    clean = np.where(numbers, values, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        found.total += clean.sum(axis=0)
        found.whole &= (clean == np.floor(clean)).all(axis=0)
    found.numbers += numbers.sum(axis=0)
    found.least = np.minimum(found.least, np.where(numbers, values, np.inf).min(axis=0))
    found.most = np.maximum(found.most, np.where(numbers, values, -np.inf).max(axis=0))
    gaps = (found.first_missing < 0) & ~filled.all(axis=0)
    found.first_missing[gaps] = found.rows + np.argmin(filled[:, gaps], axis=0)
    found.present += filled.sum(axis=0)
    if found.first is not None:
        found.first.append(values[:, 0].copy())
        if not (found.whole[0] and numbers[:, 0].all()):
            found.first = None
    found.rows += len(values)
