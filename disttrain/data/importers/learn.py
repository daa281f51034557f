"""Learns from a training table how it, and every table after it, becomes inputs and targets."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from disttrain.data.cells import NA, as_numbers, class_of, number_in
from disttrain.data.dates import date_format, date_parts, days_of
from disttrain.data.format import Array
from disttrain.data.importers.columns import Options, find_targets, inputs_among, weights_among
from disttrain.data.importers.spool import Spool, released
from disttrain.data.importers.survey import MOST_TEXTS, Survey, survey
from disttrain.data.importers.table import Table
from disttrain.data.preparation import MISSING, Column, Preparation
from disttrain.errors import DataError

__all__ = ["learn"]

CLASSES_BELOW = 10_000
"""Whole numbers from here on are quantities, unless there are many rows of each."""

FEW_CLASSES, ROWS_OF_CLASS, ROWS_OF_CODE = 10, 5, 10
"""Whole numbers are classes where there are so few, or so many rows of each."""

YEARS = 1500, 2200
"""Whole numbers of this range are years, unless there are few of them."""

UNIQUE = 10
"""A text of which there are more than that, all different, tells nothing."""

FEW_CATEGORIES, MOST_CATEGORIES = 50, 1000
"""Different cells of a column of text that become inputs of their own: unasked, and asked."""

THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
RARE = 5
MEDIAN_CELLS = 4 << 20
"""Of columns whose medians are found at once."""

FEW_CODES, ROWS_OF_TEXT = 10, 5
"""Codes such as 4, f, r: so few different cells, of which each text comes so often."""


def learn(
    table: Table, options: Options, targets: list[int] | None = None, room: Path | None = None
) -> tuple[Preparation, list[str]]:
    """Return how `table` is prepared, and notes of what was decided.

    `targets` are the numbers of the target columns, found out where they are not given; there may
    be none. What doesn't fit the memory lies in a file in the folder `room` for a while. Raises
    DataError, UsageError.
    """
    if targets is None:
        targets = find_targets(table, options)
    single = targets if len(targets) == 1 and not options.regression else []
    weights = weights_among(table, options, targets)
    found = survey(table, options.decimal, single, single)
    inputs, notes = inputs_among(table, options, found, targets + weights)
    mixed = [n for n in inputs if found.mixed(n)]
    if mixed:
        odd = found.odd
        found = survey(table, options.decimal, [*single, *mixed], single)
        found.odd = odd
        wrong = next((n for n in mixed if not options.one_hot and not _codes(found, n)), None)
        if wrong is not None:
            raise DataError(_odd(table, found, wrong))
    made = Preparation(
        tuple(_column(table, options, found, n, notes) for n in inputs),
        tuple(table.names[n] for n in targets),
        _classes(table, found, single[0], notes) if single else (),
        missing=options.missing, decimal=options.decimal, na=options.na,
        weights=options.weights or "",
    )  # fmt: skip
    if options.missing == "median":
        made = _with_medians(table, made, found, room)
    if options.pixels:
        return replace(made, dtype="uint8"), notes
    lossy = found.needs_float64()
    dates = {column.name for column in made.columns if column.kind == "date"}
    wide = [n for n in inputs if lossy[n] and (n not in found.texts or table.names[n] in dates)]
    if wide:
        notes.append(
            "inputs are float64, as float32 would lose differences in column "
            f"'{table.names[wide[0]]:.60}'"
        )
        made = replace(made, dtype="float64")
    return made, notes


def _codes(found: Survey, number: int) -> bool:
    """Tell whether cells, some of which are numbers, are codes of a few kinds and no mistakes."""
    counts = found.texts[number]
    texts = [text for text in counts if np.isnan(number_in(text, found.decimal))]
    if any(_says_nothing(text) for text in texts):
        return False
    return len(counts) <= FEW_CODES and min(counts[text] for text in texts) >= ROWS_OF_TEXT


def _says_nothing(text: str) -> bool:
    """Tell whether a cell has neither letters nor digits, as . or ? where a value is missing."""
    return not any(map(str.isalnum, text))


def _column(table: Table, options: Options, found: Survey, number: int, notes: list[str]) -> Column:
    """Return how a column becomes inputs."""
    name, missing = table.names[number], found.missing(number)
    if missing and options.missing == "refuse":
        raise DataError(
            f"{table.place(int(found.first_missing[number]), number)}: the cell is empty, as "
            f"{missing} of {found.rows} in this column: say what to do with "
            "--missing mean|median|drop|indicator"
        )
    if number in found.texts and not (options.one_hot or options.pixels or found.mixed(number)):
        dates = _dates(table, options, found, number, notes)
        if dates is not None:
            return dates
    if number in found.texts:
        categories = sorted(found.texts[number])
        unique = len(categories) == found.present[number] > UNIQUE and not options.one_hot
        if unique or len(categories) > (MOST_CATEGORIES if options.one_hot else FEW_CATEGORIES):
            raise DataError(_odd(table, found, number, len(categories)))
        if options.pixels:
            raise DataError(_odd(table, found, number))
        if missing and options.missing != "drop":
            categories.append(MISSING)
        some = ", ".join(categories[:5]) + (", ..." if len(categories) > 5 else "")
        notes.append(f"column '{name:.60}' gives {len(categories)} inputs, one each for {some}")
        return Column(name, "categories", tuple(categories))
    if options.pixels and not (
        found.whole[number] and found.least[number] >= 0 and found.most[number] <= 255
    ):
        raise DataError(
            f"{table.path}: column '{name:.60}' holds {found.least[number]:g} to "
            f"{found.most[number]:g}, but pixels are whole numbers from 0 to 255: leave out "
            "--pixels"
        )
    if options.missing in ("refuse", "drop"):
        return Column(name)
    indicator = options.missing == "indicator" and missing > 0
    return Column(
        name, fill=float(found.total[number] / found.numbers[number]), indicator=indicator
    )


def _dates(
    table: Table, options: Options, found: Survey, number: int, notes: list[str]
) -> Column | None:
    """Return how a column of dates becomes inputs, None where it holds other texts."""
    name, counts = table.names[number], found.texts[number]
    try:
        form = date_format(counts)
    except ValueError as error:
        raise DataError(
            f"{table.place(found.odd.get(number, 0), number)}: {error}: write dates as 2012-01-31, "
            f"or leave the column out with --drop '{name:.60}'"
        ) from None
    if not form:
        return None
    days = days_of(list(counts), form)
    parts = date_parts(days)
    # Decides, as for numbers, whether float32 tells them apart.
    found.least[number], found.most[number], found.whole[number] = days.min(), days.max(), False
    missing = found.missing(number) > 0 and options.missing not in ("refuse", "drop")
    fill = float(np.average(days, weights=list(counts.values()))) if missing else None
    some = ", ".join(parts)
    notes.append(f"column '{name:.60}' holds dates and gives {len(parts)} inputs: {some}")
    return Column(name, "date", parts, fill, missing and options.missing == "indicator", form)


def _odd(table: Table, found: Survey, number: int, different: int = 0) -> str:
    """Return the sentence about a cell that is no number."""
    row = found.odd.get(number, 0)
    cells = found.texts[number]
    odd = (text for text in cells if np.isnan(number_in(text, found.decimal)))
    cell = next(odd, next(iter(cells), ""))
    where = table.place(row, number)
    hint = ""
    if THOUSANDS.fullmatch(cell):
        hint = ", or write it without commas if these are for thousands"
    elif "," in cell and not cell.strip("0123456789,+-"):
        hint = ", or give --decimal ,"
    if different:
        return (
            f"{where}: '{cell:.40}' is text, one of {different} different ones: leave the column "
            f"out with --drop '{table.names[number]:.60}'"
            + (" or give --categories one-hot" if different <= MOST_CATEGORIES else "")
            + hint
        )
    return (
        f"{where}: '{cell:.40}' is not a number, but others in the column are: correct it, give "
        f"--na '{cell:.40}' if it says that a value is missing, --categories one-hot if the column "
        f"holds codes, or --drop it{hint}"
    )


def _classes(table: Table, found: Survey, number: int, notes: list[str]) -> tuple[str, ...]:
    """Return the names of the classes in the target column, none where it holds quantities."""
    counts, name = found.texts[number], table.names[number]
    if not counts:
        raise DataError(f"{table.path}: the target column '{name:.60}' is empty in every row")
    meant = {text: _quantity(text, found.decimal) for text in counts if text not in NA}
    values = np.array(list(meant.values()))
    _refuse_odd(f"{table.path}: the target column '{name:.60}'", meant)
    gaps = [text for text in counts if text in NA or _says_nothing(text)]
    if not np.isnan(values).any() and len(values):
        counts = {text: count for text, count in counts.items() if text not in NA}
    else:
        notes += [
            f"'{text}' is a class of the target: where it says that a class is missing, give "
            f"--na {text}" for text in gaps if len(gaps) < len(counts)
        ]  # fmt: skip
        values = np.array([np.nan])
    if np.isnan(values).any():
        if len(counts) > MOST_TEXTS:
            raise DataError(
                f"{table.path}: the target column '{name:.60}' holds over {MOST_TEXTS} classes"
            )
        names = sorted(counts)
        if len(names) == found.present[number] > UNIQUE:
            raise DataError(
                f"{table.path}: the target column '{name:.60}' holds another text in every row: "
                "say which column is the target with --target"
            )
    else:
        names = _whole_numbers(found, counts, values, notes)
        if not names:
            return ()
    rare = [text for text in sorted(counts) if counts[text] < RARE]
    if rare:
        some = ", ".join(f"{text:.40} ({counts[text]})" for text in rare[:5])
        notes.append(f"classes with few rows: {some}{', ...' * (len(rare) > 5)}")
    return tuple(names)


def _whole_numbers(
    found: Survey, counts: Collection[str], values: Array, notes: list[str]
) -> list[str]:
    """Return the names of classes that are numbers, none where the numbers are quantities."""
    if not (np.isfinite(values) & (values == np.floor(values))).all():
        return []
    names = sorted({class_of(text, found.decimal) for text in counts}, key=float)
    each = found.rows / len(names)
    small = values.min() >= 0 and values.max() < CLASSES_BELOW
    years = YEARS[0] <= values.min() <= values.max() <= YEARS[1] and len(names) > FEW_CLASSES
    coded = each >= ROWS_OF_CODE and len(names) < CLASSES_BELOW
    counted = values.max() - values.min() < len(names)
    few = len(names) <= FEW_CLASSES and (counted or len(names) < 3 or each > 1.5)
    if years or not (coded or (small and (few or each >= ROWS_OF_CLASS))):
        kind = "years" if years else "numbers"
        notes.append(f"the target has {len(names)} different {kind}: a regression")
        return []
    if len(names) > FEW_CLASSES:
        notes.append(
            f"the {len(names)} different whole numbers of the target are taken for classes: "
            "--regression takes them for quantities"
        )
    return names


def _refuse_odd(where: str, meant: dict[str, float]) -> None:
    """Raise DataError for a text among quantities, or one such as . or ? among any numbers."""
    texts = [text for text, value in meant.items() if np.isnan(value)]
    numbers = [value for value in meant.values() if np.isfinite(value)]
    broken = any(value != np.floor(value) for value in numbers)
    if texts and numbers and (broken or (len(texts) == 1 and _says_nothing(texts[0]))):
        raise DataError(
            f"{where} holds numbers and '{texts[0]:.40}': correct it, or give "
            f"--na '{texts[0]:.40}' if it says that the target is missing"
        )


def _quantity(text: str, decimal: str) -> float:
    """Return the number in a cell of the target; truth values are names."""
    return np.nan if text.lower() in ("true", "false") else number_in(text, decimal)


def _with_medians(table: Table, made: Preparation, found: Survey, room: Path | None) -> Preparation:
    """Return `made` with the medians of its columns of numbers as what fills gaps."""
    places = {c.name: table.names.index(c.name) for c in made.columns if c.kind == "number"}
    numbers = [number for number in places.values() if found.missing(number)]
    if not numbers:
        return made
    spool = Spool((len(numbers),), np.dtype("f8"), room)
    for block in table.blocks(list(found.texts)):
        parts = [as_numbers(block[n], n, table.place, made.decimal) for n in numbers]
        spool.append(np.stack(parts, axis=1))
    rows = spool.rows()
    step = max(1, MEDIAN_CELLS // len(rows))
    medians: dict[str, float] = {}
    for low in range(0, len(numbers), step):
        some = np.nanmedian(rows[:, low : low + step], axis=0).tolist()
        released(rows)
        medians |= dict(zip([table.names[n] for n in numbers[low : low + step]], some, strict=True))
    columns = (replace(c, fill=medians[c.name]) if c.name in medians else c for c in made.columns)
    return replace(made, columns=tuple(columns))
