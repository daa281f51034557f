"""Which classes the target column of a table holds, if it doesn't hold quantities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from disttrain.data.cells import NA, class_of, number_in, way_to_read
from disttrain.data.format import Array, check_names
from disttrain.data.importers.survey import MOST_TEXTS, Survey
from disttrain.data.importers.table import Table
from disttrain.errors import DataError

__all__ = [
    "FEW_CLASSES",
    "ROWS_OF_CODE",
    "UNIQUE",
    "capitals",
    "classes_of",
    "quantities",
    "says_nothing",
    "unlikely_classes",
]

CLASSES_BELOW = 10_000
"""Whole numbers from here on are quantities, unless there are many rows of each."""

FEW_CLASSES, MANY_CLASSES, ROWS_OF_CLASS, ROWS_OF_CODE = 10, 100, 5, 10
"""Whole numbers are classes where there are so few, or so many rows of each.

`ROWS_OF_CODE` rows are asked for where there are over `MANY_CLASSES`, or where some are negative
or not below `CLASSES_BELOW`.
"""

YEARS = 1500, 2200
"""Whole numbers of this range are years, unless there are few of them."""

UNIQUE = 10
"""A text of which there are more than that, all different, tells nothing."""

RARE = 5


def classes_of(table: Table, found: Survey, number: int, notes: list[str]) -> tuple[str, ...]:
    """Return the names of the classes in the target column, none where it holds quantities."""
    counts, name = found.texts[number], table.names[number]
    where = f"{table.path}: the target column '{name:.60}'"
    if not counts:
        raise DataError(f"{where} is empty in every row: say which one it is with --target")
    meant = {text: _quantity(text, found.decimal) for text in counts if text not in NA}
    values = np.array(list(meant.values()))
    coded = _coded(meant, counts, found.decimal)
    notes += coded
    if not coded:
        _refuse_odd(where, meant, counts, found.decimal)
    gaps = [text for text in counts if text in NA or says_nothing(text)]
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
            raise DataError(f"{where} holds over {MOST_TEXTS} classes")
        rows = {text: counts[text] for text in sorted(counts)}
        if len(rows) == found.present[number] > UNIQUE:
            raise DataError(
                f"{where} holds another text in every row: say which column is the target with "
                "--target"
            )
    else:
        rows = _whole_numbers(where, found, counts, values, notes)
        if not rows:
            return ()
    check_names(list(rows), where)
    notes += capitals("the target", rows)
    rare = [name for name, count in rows.items() if count < RARE]
    if rare:
        some = ", ".join(f"{name:.40} ({rows[name]})" for name in rare[:5])
        notes.append(f"classes with few rows: {some}{', ...' * (len(rare) > 5)}")
    return tuple(rows)


def _whole_numbers(
    where: str, found: Survey, counts: Mapping[str, int], values: Array, notes: list[str]
) -> dict[str, int]:
    """Return the rows of classes that are numbers, by name; none where these are quantities."""
    if not (np.isfinite(values) & (values == np.floor(values))).all():
        return {}
    rows, written = Counter[str](), dict[str, set[str]]()
    for text, count in counts.items():
        rows[class_of(text, found.decimal)] += count
        written.setdefault(class_of(text, found.decimal), set()).add(text)
    names = sorted(rows, key=float)
    kind = quantities([float(name) for name in names], list(rows.values()), found.rows)
    if kind:
        _refuse_rounded(where, names)
        notes.append(f"the target has {len(names)} different {kind}: a regression")
        return {}
    if len(names) > FEW_CLASSES:
        notes.append(
            f"the {len(names)} different whole numbers of the target are taken for classes: "
            "--regression takes them for quantities"
        )
    return {_as_written(name, written[name]): rows[name] for name in names}


def _refuse_rounded(where: str, names: Sequence[str]) -> None:
    """Raise DataError for whole numbers, in their order, of which float64 makes the same."""
    low, high = float(names[0]), float(names[-1])
    if max(-low, high) * 2.0**-53 > 1e-4 * (high - low):
        raise DataError(
            f"{where} holds numbers such as {names[-1]:.40}, which float64 does not tell apart: "
            "subtract what they have in common, or give other ones"
        )


def quantities(numbers: Sequence[float], rows: Sequence[int], count: int) -> str:
    """Return "years" or "numbers" where whole numbers are quantities, "" where they are classes.

    `numbers` are the different ones in their order, `rows` how often each occurs, `count` all rows.
    """
    low, high, different, each = numbers[0], numbers[-1], len(numbers), count / len(numbers)
    if YEARS[0] <= low <= high <= YEARS[1] and different > FEW_CLASSES:
        return "years"
    small = low >= 0 and high < CLASSES_BELOW
    least = ROWS_OF_CLASS if small and different <= MANY_CLASSES else ROWS_OF_CODE
    coded = each >= least and different < CLASSES_BELOW
    counted = high - low < different
    few = small and different <= FEW_CLASSES and (counted or different < 3 or each > 1.5)
    pair = list(numbers) == [-1, 1] or (different == 2 and min(rows) > 1)
    return "" if coded or few or pair else "numbers"


def unlikely_classes(targets: Array) -> str:
    """Return what whole numbers are that a table would hold as quantities, "" for classes.

    Those from 0 on without gaps are classes; those of which nine in ten occur too, twice or more.
    """
    if not targets.size:
        return ""
    found, rows = np.unique(targets, return_counts=True)
    low, high, each = int(found[0]), int(found[-1]), targets.size / len(found)
    kind = quantities(found.tolist(), rows.tolist(), int(targets.size))
    share = len(found) / (high - low + 1)
    counted = share == 1 and low == 0
    if not kind or counted or (kind != "years" and share >= 0.9 and each >= 2):
        return ""
    return f"whole numbers, {len(found)} different {kind} from {low} to {high}"


def _as_written(name: str, texts: set[str]) -> str:
    """Return 007 for the class 7 where all rows write it so: a code keeps its zeros."""
    text, *others = texts
    return text if not others and text.isdecimal() and text == name.zfill(len(text)) else name


def _refuse_odd(
    where: str, meant: Mapping[str, float], counts: Mapping[str, int], decimal: str
) -> None:
    """Raise DataError for a text among quantities, or among numbers for a sign or a lone text."""
    texts = [text for text, value in meant.items() if np.isnan(value)]
    numbers = [value for value in meant.values() if np.isfinite(value)]
    broken = any(value != np.floor(value) for value in numbers)
    ways = [way_to_read(text, decimal) for text in texts]
    if texts and all(ways):
        raise DataError(f"{where} holds '{texts[0]:.40}', a number that is not read so: {ways[0]}")
    alone = len(texts) == 1 and (says_nothing(texts[0]) or counts[texts[0]] == 1 < len(numbers))
    if texts and numbers and (broken or alone):
        raise DataError(
            f"{where} holds numbers and '{texts[0]:.40}': correct it, or give "
            f"--na '{texts[0]:.40}' if it says that the target is missing"
        )


def _coded(meant: Mapping[str, float], counts: Mapping[str, int], decimal: str) -> list[str]:
    """Return the note that texts such as 50% or (1) are classes, none where they are quantities.

    Classes are few, come again, and have no decimals, as with whole numbers.
    """
    ways = [way_to_read(text, decimal) for text in meant]
    few = len(meant) <= FEW_CLASSES and 2 * len(meant) <= sum(counts[text] for text in meant)
    if not (ways and all(ways) and few) or any("." in text or "," in text for text in meant):
        return []
    first = next(iter(meant))
    return [
        f"the {len(meant)} different texts of the target, such as '{first:.40}', are taken for "
        f"classes: for a quantity {ways[0]}, and give --regression"
    ]


def _quantity(text: str, decimal: str) -> float:
    """Return the number in a cell of the target; truth values are names."""
    return np.nan if text.lower() in ("true", "false") else number_in(text, decimal)


def capitals(where: str, texts: Iterable[str]) -> list[str]:
    """Return a note of texts that differ in capitals alone, such as Yes and yes, if there are."""
    seen: dict[str, str] = {}
    for text in texts:
        other = seen.setdefault(text.casefold(), text)
        if other != text:
            said = f"{where} tells '{other:.40}' from '{text:.40}'"
            return [f"{said}, which differ in capitals alone"]
    return []


def says_nothing(text: str) -> bool:
    """Tell whether a cell has neither letters nor digits, as . or ? where a value is missing."""
    return not any(map(str.isalnum, text))
