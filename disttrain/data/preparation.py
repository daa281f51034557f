"""How a training table became inputs and targets, so that other tables are read in the same way.

It is one JSON object, kept in the data file (dataset `preparation`):

    {"version": 1, "columns": [{"name": "age", "kind": "number", "fill": 29.5, "indicator": true},
     {"name": "sex", "kind": "categories", "categories": ["female", "male"]}], "targets": ["class"],
     "classes": ["no", "yes"], "dtype": "float32", "missing": "mean", "decimal": ".", "na": [],
     "weights": "count"}

Each number becomes one input, and a second one, 1 where the cell was missing, with an indicator;
each category becomes an input that is 1 where the cell holds it, else 0. A column of dates (kind
"date") has their `format`; its `categories` are the parts that become inputs, see `dates.PARTS`.
`weights` is the column that says how much a row counts; without one it is left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from disttrain.data.cells import NA, Place, as_numbers, as_texts, by_name, class_of
from disttrain.data.dates import PARTS, date_inputs, days_of
from disttrain.data.format import Array
from disttrain.errors import DataError

if TYPE_CHECKING:
    import pandas

__all__ = ["MISSING", "Column", "Missing", "Preparation"]

VERSION = 1
MISSING = "(missing)"
"""The category of a cell that is empty, in columns that had empty cells."""

Missing = Literal["refuse", "mean", "median", "drop", "indicator"]


@dataclass(frozen=True)
class Column:
    """One column that gives inputs; `fill` stands for a missing number or date (None: refused)."""

    name: str
    kind: Literal["number", "categories", "date"] = "number"
    categories: tuple[str, ...] = ()
    fill: float | None = None
    indicator: bool = False
    format: str = ""

    @property
    def width(self) -> int:
        """Inputs that it becomes."""
        return (len(self.categories) if self.kind != "number" else 1) + self.indicator


@dataclass(frozen=True)
class Preparation:
    """How a table becomes inputs and targets. `classes` is empty where targets are quantities."""

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    classes: tuple[str, ...] = ()
    dtype: str = "float32"
    missing: Missing = "refuse"
    decimal: str = "."
    na: tuple[str, ...] = ()
    weights: str = ""
    _numbers: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def width(self) -> int:
        """Numbers in one sample."""
        return sum(column.width for column in self.columns)

    @property
    def named(self) -> list[str] | None:
        """The names of the classes, None where these are their numbers, or there are no classes."""
        plain = list(map(str, range(len(self.classes))))
        return None if list(self.classes) == plain else list(self.classes)

    @property
    def texts(self) -> list[str]:
        """Names of the columns whose cells are taken as text."""
        own = [column.name for column in self.columns if column.kind != "number"]
        return own + list(self.targets if self.classes else ())

    def to_json(self) -> str:
        """Return it as text."""
        facts = {name: value for name, value in asdict(self).items() if name != "_numbers"}
        if not self.weights:
            del facts["weights"]
        for column in facts["columns"]:
            if not column["format"]:
                del column["format"]
        return json.dumps({"version": VERSION, **facts})

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Return what `to_json` made `text` of. Raises DataError for any other text."""
        try:
            facts: dict[str, Any] = json.loads(text)
            if facts.pop("version") != VERSION:
                raise ValueError("of another version")
            columns = tuple(
                Column(**column | {"categories": tuple(map(str, column["categories"]))})
                for column in facts.pop("columns")
            )
            for name in ("targets", "classes", "na"):
                facts[name] = tuple(map(str, facts[name]))
            made = cls(columns=columns, **facts)
            if made.dtype not in ("float32", "float64", "uint8") or made.width < 1:
                raise ValueError("no such type or no columns")
            if not isinstance(made.weights, str):
                raise ValueError("no name of the column of weights")
            if any(c.kind == "date" and not set(c.categories) <= set(PARTS) for c in columns):
                raise ValueError("no such part of a date")
            if made.missing not in get_args(Missing) or len(made.decimal) != 1:
                raise ValueError("no such way with missing cells")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(
                f"the preparation kept with the data is damaged ({error}): prepare them again"
            ) from None
        return made

    def column_of(self, number: int) -> Column:
        """Return the column from which input `number` comes."""
        ends = np.cumsum([column.width for column in self.columns])
        return self.columns[int(np.searchsorted(ends, number, "right"))]

    def cast(self, inputs: Array, places: Mapping[str, int], place: Place) -> Array:
        """Return inputs in the type that is stored. Raises DataError for what it can't hold."""
        with np.errstate(over="ignore", invalid="ignore"):
            made = inputs.astype(self.dtype)
        bad = made != inputs if self.dtype == "uint8" else ~np.isfinite(made)
        if bad.any():
            row, number = map(int, np.argwhere(bad)[0])
            what = "a pixel (0 to 255)" if self.dtype == "uint8" else "a number of 4 bytes"
            what += ", as the training table has them"
            if not np.isfinite(inputs[row, number]):
                what = "a finite number"
            raise DataError(
                f"{place(row, places[self.column_of(number).name])}: {inputs[row, number]:g} is "
                f"not {what}: correct it"
            )
        return made

    def places(self, names: Sequence[str], source: object, labelled: bool) -> dict[str, int]:
        """Return the number of each column that is needed in a table with these column names.

        Other columns are passed over. Raises DataError that names the first one that is missing.
        """
        numbered = {name: number for number, name in enumerate(names)}
        times = Counter(names)
        wanted = [column.name for column in self.columns]
        for name in [*wanted, *(self.targets if labelled else ())]:
            if name not in numbered:
                some = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
                raise DataError(
                    f"{source} has no column '{name}', which the training table has: its columns "
                    f"are {some}"
                )
            if times[name] > 1:
                raise DataError(f"{source} has several columns '{name}': leave one of them")
        return numbered

    def inputs_of(self, table: pandas.DataFrame, places: Mapping[str, int], place: Place) -> Array:
        """Return (rows, width) float64: NaN stands where a cell is missing and nothing fills it.

        `table` has the columns by their numbers. Raises DataError for a cell that is no number and
        a category that the training table does not have.
        """
        out = np.empty((len(table), self.width))
        start = 0
        plain = [places[c.name] for c in self.columns if c.width == 1 and c.kind == "number"]
        if len(plain) == len(self.columns) and all(t.kind in "biuf" for t in table[plain].dtypes):
            out[:] = table[plain].to_numpy(np.float64, na_value=np.nan)
            self._fill(out)
            return out
        for column in self.columns:
            number = places[column.name]
            if column.kind == "categories":
                codes = self._codes(table[number], column, number, place)[:, np.newaxis]
                ones = np.where(codes < 0, np.nan, codes == np.arange(column.width))
                out[:, start : start + column.width] = ones
            else:
                if column.kind == "date":
                    values = self._days(table[number], column, number, place)
                else:
                    values = as_numbers(table[number], number, place, self.decimal)
                end = start + column.width
                if column.indicator:
                    end -= 1
                    out[:, end] = np.isnan(values)
                if column.fill is not None:
                    values[np.isnan(values)] = column.fill
                dates = column.kind == "date"
                made = date_inputs(values, column.categories) if dates else values[:, np.newaxis]
                out[:, start:end] = made
            start += column.width
        return out

    def _fill(self, numbers: Array) -> None:
        """Fill the missing numbers of a table that has only such columns."""
        fills = np.array([np.nan if c.fill is None else c.fill for c in self.columns])
        if not np.isnan(fills).all():
            rows, columns = np.nonzero(np.isnan(numbers))
            numbers[rows, columns] = fills[columns]

    def _days(self, cells: pandas.Series, column: Column, number: int, place: Place) -> Array:
        """Return dates as days, NaN where a cell is empty. Raises DataError for what is no date."""
        if cells.dtype.kind == "M":
            return days_of(cells, column.format)
        texts = as_texts(cells)
        days = days_of(texts, column.format)
        for row in np.flatnonzero(np.isnan(days)).tolist():
            if texts[row]:
                raise DataError(
                    f"{place(row, number)}: '{texts[row]:.60}' is not a date as the training table "
                    f"writes them ({column.format}): correct it"
                )
        return days

    def _codes(self, cells: pandas.Series, column: Column, number: int, place: Place) -> Array:
        known = {name: code for code, name in enumerate(column.categories)}
        texts = as_texts(cells)
        codes = np.array([known.get(text or MISSING, -1) for text in texts], dtype=np.int64)
        for row in np.flatnonzero(codes < 0).tolist():
            if texts[row]:
                raise DataError(
                    f"{place(row, number)}: '{texts[row]:.60}' is not a category of the training "
                    "table: correct it, or train with rows that have it"
                )
        return codes

    def targets_of(self, table: pandas.DataFrame, places: Mapping[str, int], place: Place) -> Array:
        """Return the classes (rows,) int64, -1 where a cell is missing, or (rows, outputs) float64.

        Classes are matched by name. Raises DataError for an unknown one and for what is no number.
        """
        numbers = [places[name] for name in self.targets]
        if not self.classes:
            columns = [as_numbers(table[n], n, place, self.decimal) for n in numbers]
            return np.stack(columns, axis=1)
        if not self._numbers:
            self._numbers.update(by_name(self.classes, self.decimal))
        (number,) = numbers
        texts = as_texts(table[number])
        classes = {text: self._class(text) for text in set(texts)}
        found = np.array([classes[text] for text in texts], dtype=np.int64)
        for row in np.flatnonzero(found < -1).tolist():
            some = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
            raise DataError(
                f"{place(row, number)}: '{texts[row]:.60}' is not a class of the training table, "
                f"which has {some}"
            )
        return found

    def weights_of(self, table: pandas.DataFrame, number: int | None, place: Place) -> Array:
        """Return how much each row counts, float32, 1 where no column says so; or DataError."""
        if number is None:
            return np.ones(len(table), np.float32)
        weights = as_numbers(table[number], number, place, self.decimal)
        with np.errstate(over="ignore"):
            found = weights.astype(np.float32)
        bad = ~np.isfinite(found) | (found < 0)
        if bad.any():
            row = int(np.argmax(bad))
            said = "empty" if np.isnan(weights[row]) else f"{weights[row]:g}"
            raise DataError(
                f"{place(row, number)}: the weight is {said}, but must be a number of 0 or more: "
                "correct it (0: the row does not count)"
            )
        return found

    def _class(self, text: str) -> int:
        found = self._numbers.get(text, self._numbers.get(class_of(text, self.decimal), -2))
        return -1 if found < 0 and text in NA else found
