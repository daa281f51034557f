"""Cells of a table as texts, numbers or names of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from disttrain.data.format import Array
from disttrain.errors import DataError

if TYPE_CHECKING:
    import pandas

__all__ = [
    "NA",
    "Place",
    "as_numbers",
    "as_texts",
    "by_name",
    "class_of",
    "number_in",
    "place_of",
    "plain_cells",
    "plain_text",
    "way_to_read",
]

NA = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>")
"""Cells that say that a value is missing. In a column of classes only "" does, and numbers."""

FORMULA = re.compile(r'="([^"]*)"')
SIGNS = "%$€£¥"
QUOTED = re.compile(r"'(.*\d.*)'")
BRACKETS = re.compile(r"\((.*\d.*)\)")
SIGNED = re.compile(rf"([+-]?)\s?[{SIGNS}]?\s?(\d.*?|[.,]\d+)\s?[{SIGNS}]?")
DECIMALS = re.compile(r"\d*,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"\d{1,3}(?:([,.'\s\u00a0\u202f])\d{3})(?:\1\d{3})*([.,]\d+)?")

Place = Callable[[int, int], str]
"""(Row, column) of a table → the words for it: file, line and name of the column."""


def class_of(text: str, decimal: str = ".") -> str:
    """Return the name of the class that a cell stands for: "3.0" is 3, with a comma "3,0"."""
    try:
        value = _number(text, decimal)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else text


def by_name(names: Sequence[str], decimal: str = ".") -> dict[str, int]:
    """Return the place of each class by its name, and by the number that it is: 7 finds 007."""
    plain = {class_of(name, decimal): place for place, name in enumerate(names)}
    return plain | {name: place for place, name in enumerate(names)}


def place_of(name: str, known: Mapping[str, int]) -> int:
    """Return the place of a class in what `by_name` returned, -1 where it is none of them."""
    return known.get(name, known.get(class_of(name), -1))


def plain_text(cell: str) -> str:
    """Return a cell without blanks around it, and ="007", as Excel keeps a text, as 007."""
    text = cell.strip()
    found = FORMULA.fullmatch(text) if text.startswith("=") else None
    return found[1].strip() if found else text


def as_texts(cells: pandas.Series) -> list[str]:
    """Return cells as text without blanks around it, "" where they are missing."""
    if str(cells.dtype) in ("str", "string"):
        codes, different = cells.factorize()  # -1, the last one, where a cell is missing
        texts = [*map(plain_text, different), ""]
        return [texts[code] for code in codes.tolist()]
    missing = cells.isna().to_numpy()
    values = cells.to_numpy(dtype=object)
    return ["" if gone else _text(cell) for cell, gone in zip(values, missing, strict=True)]


def _text(cell: object) -> str:
    """Return a cell as text; bytes, as some programs write text into Parquet, are UTF-8."""
    text = cell.decode(errors="backslashreplace") if isinstance(cell, bytes) else str(cell)
    return plain_text(text)


def as_numbers(cells: pandas.Series, column: int, place: Place, decimal: str = ".") -> Array:
    """Return cells as float64, NaN where they are missing; True is 1 and False 0.

    Raises DataError for text and for infinity.
    """
    if cells.dtype.kind in "biuf":
        values: Array = cells.to_numpy(np.float64, na_value=np.nan, copy=True)
    else:
        values = np.empty(len(cells))
        for row, text in enumerate(as_texts(cells)):
            values[row] = number_in(text, decimal) if text else np.nan
            if text and np.isnan(values[row]):
                raise DataError(f"{place(row, column)}: '{text:.40}' is not a number: correct it")
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"{place(row, column)}: {values[row]} is not a finite number: correct it")
    return values


def plain_cells(block: pandas.DataFrame) -> pandas.DataFrame:
    """Return columns by their numbers, durations as seconds."""
    block.columns = range(block.shape[1])
    for number, kind in enumerate(block.dtypes):
        if kind.kind == "m":
            block[number] = block[number].dt.total_seconds()
    return block


def number_in(text: str, decimal: str = ".") -> float:
    """Return the number that `text` is; truth values are 1 and 0, what is no number is NaN."""
    try:
        return _number(text, decimal)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(text.lower(), np.nan)


def way_to_read(text: str, decimal: str = ".") -> str:
    """Return what to do about a number as spreadsheets write it: 1,5 or 1,234 or 12 % or $5.

    "" where `text` is a number already, or is none.
    """
    if (inside := BRACKETS.fullmatch(text)) and (way_to_read(inside[1], decimal) or not np.isnan(
        number_in(inside[1], decimal)
    )):  # fmt: skip
        return "write negative numbers with a minus, not in brackets"
    if (inside := QUOTED.fullmatch(text)) and not np.isnan(number_in(inside[1], decimal)):
        return "write numbers without quotes"
    found = SIGNED.fullmatch(text)
    if found is None or not np.isnan(number_in(text, decimal)):
        return ""
    number = found[1] + found[2]
    if not np.isnan(number_in(number, decimal)):
        sign = next((sign for sign in SIGNS if sign in text), "")
        return (
            f"write it without '{sign}'" if sign else "write it without the blank behind the sign"
        )
    comma = "give --decimal ," * (decimal == "." and DECIMALS.fullmatch(found[2]) is not None)
    if grouped := THOUSANDS.fullmatch(found[2]):
        what = {",": "commas", ".": "points"}.get(grouped[1], "blanks")
        comma += " or " * bool(comma) + f"write it without {what} if these are for thousands"
    return comma


def _number(text: str, decimal: str) -> float:
    """Return the number that `text` is; ValueError where it is none.

    With another decimal sign a point could mean thousands, so it is not taken for one. To Python
    1_0 is 10, in a table it is a code.
    """
    if decimal != ".":
        text = text.replace(".", "?").replace(decimal, ".")
    return float(text.replace("_", "?").replace("\u2212", "-"))
