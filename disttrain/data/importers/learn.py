"""Learns from a training table how it, and every table after it, becomes inputs and targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from disttrain.data.cells import as_numbers, number_in, way_to_read
from disttrain.data.dates import date_format, date_parts, days_of
from disttrain.data.importers.classes import UNIQUE, capitals, classes_of, says_nothing
from disttrain.data.importers.columns import Options, find_targets, inputs_among, weights_among
from disttrain.data.importers.spool import Spool, released
from disttrain.data.importers.survey import Survey, survey
from disttrain.data.importers.table import Table
from disttrain.data.preparation import MISSING, Column, Preparation
from disttrain.errors import DataError

__all__ = ["learn"]

FEW_CATEGORIES, MOST_CATEGORIES, ROWS_OF_CATEGORY = 50, 1000, 5
"""Different cells of a column of text that become inputs of their own: always, at most, and how
often each has to come, on average, where they are more than the first."""

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
            raise DataError(_odd(table, options, found, wrong))
    made = Preparation(
        tuple(_column(table, options, found, n, notes) for n in inputs),
        tuple(table.names[n] for n in targets),
        classes_of(table, found, single[0], notes) if single else (),
        missing=options.missing, decimal=options.decimal, na=options.na,
        weights=options.weights or "",
    )  # fmt: skip
    if options.missing == "median":
        made = _with_medians(table, made, found, room)
    if options.pixels:
        return replace(made, dtype="uint8"), notes
    return _in_float64(table, made, found, inputs, notes), notes


def _in_float64(
    table: Table, made: Preparation, found: Survey, inputs: list[int], notes: list[str]
) -> Preparation:
    """Return `made` with float64 for inputs, if float32 would lose differences of a column."""
    lossy, close = found.needs_float64(), found.too_close()
    dates = {column.name for column in made.columns if column.kind == "date"}
    wide = [n for n in inputs if lossy[n] and (n not in found.texts or table.names[n] in dates)]
    for n in wide:
        if close[n]:
            large = max(abs(found.least[n]), abs(found.most[n])) >= 2**53
            raise DataError(
                f"{table.path}: the numbers of column '{table.names[n]:.60}' "
                + (
                    "are so large that float64 does not tell them apart"
                    if large
                    else "differ by little more than the rounding of float64"
                )
                + f": leave it out with --drop '{table.names[n]:.60}'"
            )
    if not wide:
        return made
    notes.append(
        "inputs are float64, as float32 would lose differences in column "
        f"'{table.names[wide[0]]:.60}'"
    )
    return replace(made, dtype="float64")


def _codes(found: Survey, number: int) -> bool:
    """Tell whether cells, some of which are numbers, are codes of a few kinds and no mistakes."""
    counts = found.texts[number]
    texts = [text for text in counts if np.isnan(number_in(text, found.decimal))]
    if any(says_nothing(text) or way_to_read(text, found.decimal) for text in texts):
        return False
    return len(counts) <= FEW_CODES and min(counts[text] for text in texts) >= ROWS_OF_TEXT


def _are_numbers(found: Survey, number: int) -> bool:
    """Tell whether all texts of a column are numbers, as spreadsheets write these."""
    return all(way_to_read(text, found.decimal) for text in found.texts[number])


def _most_categories(options: Options, found: Survey, number: int) -> int:
    """Return how many different cells of a column of text may become inputs."""
    if options.one_hot:
        return MOST_CATEGORIES
    present = int(found.present[number])
    if len(found.texts[number]) == present > UNIQUE:
        return 0
    return max(FEW_CATEGORIES, min(MOST_CATEGORIES, present // ROWS_OF_CATEGORY))


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
        if options.pixels or (not options.one_hot and _are_numbers(found, number)):
            raise DataError(_odd(table, options, found, number))
        if len(categories) > _most_categories(options, found, number):
            raise DataError(_odd(table, options, found, number, len(categories)))
        notes += capitals(f"column '{name:.60}'", categories)
        if missing and options.missing != "drop":
            categories.append(MISSING)
        some = ", ".join(categories[:5]) + (", ..." if len(categories) > 5 else "")
        many = f"{len(categories)} inputs, one each" if len(categories) > 1 else "1 input,"
        notes.append(f"column '{name:.60}' gives {many} for {some}")
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
    many = "1 input" if len(parts) == 1 else f"{len(parts)} inputs"
    notes.append(f"column '{name:.60}' holds dates and gives {many}: {', '.join(parts)}")
    return Column(name, "date", parts, fill, missing and options.missing == "indicator", form)


def _odd(table: Table, options: Options, found: Survey, number: int, different: int = 0) -> str:
    """Return the sentence about a cell that is no number."""
    row = found.odd.get(number, 0)
    cells = found.texts[number]
    odd = (text for text in cells if np.isnan(number_in(text, found.decimal)))
    cell = next(odd, next(iter(cells), ""))
    where = table.place(row, number)
    hint = way_to_read(cell, found.decimal)
    if hint:
        codes = not options.pixels and len(cells) <= MOST_CATEGORIES
        return f"{where}: '{cell:.40}' is not a number as it is written: {hint}" + codes * (
            ", or give --categories one-hot if the column holds codes"
        )
    if different:
        return (
            f"{where}: '{cell:.40}' is text, one of {different} different ones: leave the column "
            f"out with --drop '{table.names[number]:.60}'"
            + (" or give --categories one-hot" if different <= MOST_CATEGORIES else "")
        )
    return (
        f"{where}: '{cell:.40}' is not a number, but others in the column are: correct it, give "
        f"--na '{cell:.40}' if it says that a value is missing, --categories one-hot if the column "
        f"holds codes, or --drop it"
    )


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
