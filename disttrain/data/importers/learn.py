"""Learns from a training table how it, and every table after it, becomes inputs and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from disttrain.data.cells import as_numbers, class_of, number_in
from disttrain.data.format import Array
from disttrain.data.importers.dialect import TARGET_NAMES
from disttrain.data.importers.survey import MOST_TEXTS, Survey, survey
from disttrain.data.importers.table import Table
from disttrain.data.preparation import MISSING, Column, Missing, Preparation
from disttrain.errors import DataError, UsageError

__all__ = ["Options", "learn"]

CLASSES_BELOW = 10_000
"""Whole numbers from here on are quantities, unless there are many rows of each."""

FEW_CLASSES, ROWS_OF_CLASS, ROWS_OF_CODE = 10, 5, 10
"""Whole numbers are classes where there are so few, or so many rows of each."""

UNIQUE = 10
"""A text of which there are more than that, all different, tells nothing."""

FEW_CATEGORIES, MOST_CATEGORIES = 50, 1000
"""Different cells of a column of text that become inputs of their own: unasked, and asked."""

RARE = 5
INDEX_NAMES = (
    "", "unnamed: 0", "__index_level_0__", "index", "rownames", "row", "row_number", "id", "nr",
    "no", "obs",
)  # fmt: skip
"""What a first column is called that only numbers the rows, in capitals or not."""

FEW_CODES, ROWS_OF_TEXT = 10, 5
"""Codes such as 4, f, r: so few different cells, of which each text comes so often."""


@dataclass(frozen=True)
class Options:
    """What the user says of a table; None and "" mean: find out."""

    target: str | None = None
    regression: bool = False
    columns: str | None = None
    drop: str | None = None
    pixels: bool = False
    one_hot: bool = False
    missing: Missing = "refuse"
    decimal: str = "."
    na: tuple[str, ...] = ()
    weights: str | None = None


def learn(table: Table, options: Options) -> tuple[Preparation, list[str]]:
    """Return how `table` is prepared, and notes of what was decided.

    Raises DataError, UsageError.
    """
    targets = find_targets(table, options)
    single = targets if len(targets) == 1 and not options.regression else []
    weights = _weights(table, options, targets)
    found = survey(table, options.decimal, single, single)
    inputs, notes = _inputs(table, options, found, targets + weights)
    mixed = [n for n in inputs if found.mixed(n)]
    if mixed:
        odd = found.odd
        found = survey(table, options.decimal, [*single, *mixed], single)
        found.odd = odd
        wrong = next((n for n in mixed if not options.one_hot and not _codes(found.texts[n])), None)
        if wrong is not None:
            raise DataError(_odd(table, found, wrong))
    made = Preparation(
        tuple(_column(table, options, found, n, notes) for n in inputs),
        tuple(table.names[n] for n in targets),
        _classes(table, found, single[0], options.decimal, notes) if single else (),
        missing=options.missing, decimal=options.decimal, na=options.na,
        weights=options.weights or "",
    )  # fmt: skip
    if options.missing == "median":
        made = _with_medians(table, made, found)
    if options.pixels:
        return replace(made, dtype="uint8"), notes
    lossy = found.needs_float64()
    wide = [n for n in inputs if lossy[n] and n not in found.texts]
    if wide:
        notes.append(
            "inputs are float64, as float32 would lose differences in column "
            f"'{table.names[wide[0]]:.60}'"
        )
        made = replace(made, dtype="float64")
    return made, notes


def _codes(counts: dict[str, int]) -> bool:
    """Tell whether cells, some of which are numbers, are codes of a few kinds and no mistakes."""
    texts = [count for text, count in counts.items() if np.isnan(number_in(text))]
    return len(counts) <= FEW_CODES and min(texts) >= ROWS_OF_TEXT


def find_targets(table: Table, options: Options) -> list[int]:
    """Return the numbers of the target columns. Raises DataError."""
    names = [name for name in table.names if name]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{table.path} has several columns '{twice}': call each by its own name")
    if options.target is not None:
        return _named(table, options.target, "target")
    lowered = [name.lower() for name in table.names]
    known = [name for name in TARGET_NAMES if name in lowered]
    # Where x and y are coordinates, the class stands in the last column.
    if known == ["y"] and "x" in lowered and lowered[-1] != "y" and len(lowered) > 2:
        first = next(iter(table.blocks()), None)
        if first is not None and first.dtypes.iloc[-1].kind not in "biuf":
            known = []
    return [lowered.index(known[0]) if known else len(lowered) - 1]


def _weights(table: Table, options: Options, targets: list[int]) -> list[int]:
    """Return the number of the column of weights, if there is one."""
    if options.weights is None:
        return []
    found = _named(table, options.weights, "weights")
    if len(found) > 1 or found[0] in targets:
        raise UsageError(f"--weights is '{options.weights}': give one column, and not the target")
    return found


def _named(table: Table, words: str, what: str) -> list[int]:
    """Return the columns that an option names: one name, or several with commas between them."""
    wanted = [words] if words.strip() in table.names else words.split(",")
    for name in wanted:
        if name.strip() not in table.names:
            some = ", ".join(table.names[:20]) + (", ..." if len(table.names) > 20 else "")
            raise DataError(f"{table.path} has no column '{name}': the columns are {some}")
    found = [table.names.index(name.strip()) for name in wanted]
    if len(set(found)) < len(found):
        raise DataError(f"{table.path}: --{what} names a column twice: name each once")
    return found


def _inputs(
    table: Table, options: Options, found: Survey, targets: Sequence[int]
) -> tuple[list[int], list[str]]:
    """Return the columns that become inputs, and notes of those that don't."""
    names, notes = table.names, []
    if options.columns is not None:
        chosen = _named(table, options.columns, "columns")
        if set(chosen) & set(targets):
            both = next(n for n in targets if n in chosen)
            what = "column of weights" if names[both] == options.weights else "target"
            raise UsageError(f"--columns names the {what} '{names[both]}': leave it out")
    else:
        chosen = [n for n in range(len(names)) if n not in targets]
        different = found.counting or len(found.texts.get(0, ())) == found.rows
        if names[0].lower() in INDEX_NAMES and 0 in chosen and different and found.rows > 1:
            chosen.remove(0)
            notes.append(
                f"left out the first column, '{names[0]}', which names or numbers the rows"
            )
        empty = [n for n in chosen if not found.present[n]]
        if empty:
            notes.append(f"left out columns without any cell: {_listed(names, empty)}")
        chosen = [n for n in chosen if n not in empty]
    dropped = _named(table, options.drop, "drop") if options.drop is not None else []
    chosen = [n for n in chosen if n not in dropped]
    if not chosen:
        raise DataError(f"{table.path} has no column but the target: inputs are missing")
    return chosen, notes


def _listed(names: Sequence[str], numbers: Sequence[int]) -> str:
    return ", ".join(f"'{names[n]:.60}'" for n in numbers[:10]) + ", ..." * (len(numbers) > 10)


def _column(table: Table, options: Options, found: Survey, number: int, notes: list[str]) -> Column:
    """Return how a column becomes inputs."""
    name, missing = table.names[number], found.missing(number)
    if missing and options.missing == "refuse":
        raise DataError(
            f"{table.place(int(found.first_missing[number]), number)}: the cell is empty, as "
            f"{missing} of {found.rows} in this column: say what to do with "
            "--missing mean|median|drop|indicator"
        )
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


def _odd(table: Table, found: Survey, number: int, different: int = 0) -> str:
    """Return the sentence about a cell that is no number."""
    row = found.odd.get(number, 0)
    cells = found.texts[number]
    cell = next((text for text in cells if np.isnan(number_in(text))), next(iter(cells), ""))
    where = table.place(row, number)
    if different:
        return (
            f"{where}: '{cell:.40}' is text, one of {different} different ones: leave the column "
            f"out with --drop '{table.names[number]:.60}'"
            + (" or give --categories one-hot" if different <= MOST_CATEGORIES else "")
        )
    hint = ", or give --decimal ," if "," in cell and not cell.strip("0123456789,+-") else ""
    return (
        f"{where}: '{cell:.40}' is not a number, but others in the column are: correct it, give "
        f"--na '{cell:.40}' if it says that a value is missing, --categories one-hot if the column "
        f"holds codes, or --drop it{hint}"
    )


def _classes(
    table: Table, found: Survey, number: int, decimal: str, notes: list[str]
) -> tuple[str, ...]:
    """Return the names of the classes in the target column, none where it holds quantities."""
    counts, name = found.texts[number], table.names[number]
    if not counts:
        raise DataError(f"{table.path}: the target column '{name:.60}' is empty in every row")
    values = np.array([_quantity(text, decimal) for text in counts])
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
    elif not (np.isfinite(values) & (values == np.floor(values))).all():
        return ()
    else:
        names = sorted({class_of(text) for text in counts}, key=float)
        each = found.rows / len(names)
        small = values.min() >= 0 and values.max() < CLASSES_BELOW
        if not (each >= ROWS_OF_CODE and len(names) < CLASSES_BELOW) and not (
            small and (each >= ROWS_OF_CLASS or len(names) <= FEW_CLASSES)
        ):
            notes.append(f"the target has {len(names)} different numbers: a regression")
            return ()
    rare = [text for text in sorted(counts) if counts[text] < RARE]
    if rare:
        some = ", ".join(f"{text:.40} ({counts[text]})" for text in rare[:5])
        notes.append(f"classes with few rows: {some}{', ...' * (len(rare) > 5)}")
    return tuple(names)


def _quantity(text: str, decimal: str) -> float:
    """Return the number in a cell of the target; truth values are names."""
    return np.nan if text.lower() in ("true", "false") else number_in(text, decimal)


def _with_medians(table: Table, made: Preparation, found: Survey) -> Preparation:
    """Return `made` with the medians of its columns of numbers as what fills gaps."""
    places = {c.name: table.names.index(c.name) for c in made.columns if c.kind == "number"}
    numbers = [number for number in places.values() if found.missing(number)]
    if not numbers:
        return made
    parts: list[list[Array]] = [[] for _ in numbers]
    for block in table.blocks(list(found.texts)):
        for part, number in zip(parts, numbers, strict=True):
            part.append(as_numbers(block[number], number, table.place, made.decimal))
    medians = {
        table.names[number]: float(np.nanmedian(np.concatenate(part)))
        for number, part in zip(numbers, parts, strict=True)
    }
    columns = (replace(c, fill=medians[c.name]) if c.name in medians else c for c in made.columns)
    return replace(made, columns=tuple(columns))
