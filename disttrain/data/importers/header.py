"""Whether the first row of a table of text names its columns, and what these are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from disttrain.data.cells import NA, number_in
from disttrain.errors import DataError

__all__ = [
    "HEAD_ROWS",
    "NAMELESS",
    "TARGET_NAMES",
    "in_title",
    "is_header",
    "names_of",
    "numbered",
    "refuse_title",
]

TARGET_NAMES = ("label", "target", "class", "y")
"""What the target column is called where nobody says, in order of preference."""

HEAD_ROWS = 50
NAMELESS = "Unnamed: "
"""Behind it stands the number of a column that has no name, as pandas calls it; "" is the first."""


def names_of(first: Sequence[str], below: Sequence[Sequence[str]]) -> list[str]:
    """Return the names in a header. The first column may lack one, and so may the last ones."""
    names = [name.strip() for name in first]
    if below and all(len(row) == len(first) + 1 for row in below):
        names = [*names, ""] if not any(row[-1].strip() for row in below) else ["", *names]
    return [name or f"{NAMELESS}{n}" * (n > 0) for n, name in enumerate(names)]


def numbered(first: Sequence[str]) -> list[str]:
    """Return what columns without names are called."""
    return [str(number) for number in range(1, len(first) + 1)]


def refuse_title(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Raise DataError where the first row is shorter than most, as a title above the table is."""
    (width, count), *_ = Counter(map(len, rows)).most_common(1)
    if len(rows[0]) + 1 < width and 2 * count > len(rows):
        raise DataError(
            f"{path}: the first line has {len(rows[0])} cell{'s' * (len(rows[0]) > 1)}, but most "
            f"have {width}: take out what stands above the names of the columns"
        )


def is_header(first: list[str], below: list[list[str]], target: str | None, decimal: str) -> bool:
    """Tell a header from a first row of data."""
    return _names_something(first, below, target, decimal) or _is_all_text(first, below, decimal)


def in_title(
    title: list[str], rows: list[list[str]], target: str | None, decimal: str, prose: bool
) -> bool:
    """Tell whether the last comment above `rows` names the columns, and the first row doesn't.

    With `prose` blanks separate the cells, so any comment of as many words looks like names.
    """
    named = all(_is_text(cell, decimal) for cell in rows[0])
    if named and _names_something(rows[0], rows[1:], target, decimal):
        return False
    if prose and _is_all_text(rows[0], rows[1:], decimal):
        return _names_something(title, rows, target, decimal)
    return is_header(title, rows, target, decimal)


def _names_something(
    first: list[str], below: list[list[str]], target: str | None, decimal: str
) -> bool:
    """Tell whether a row holds the name of the target, texts above numbers, or counts on."""
    below = [row for row in below[:HEAD_ROWS] if len(row) in (len(first), len(first) + 1)]
    cells = [cell.strip() for cell in first]
    wanted = [] if target is None else [target, *target.split(",")]
    if any(cell in wanted and not _is_number(cell, decimal) for cell in cells if cell):
        return True
    if any(cell.lower() in TARGET_NAMES for cell in cells):
        return True
    columns = numbered(first)
    expected = {columns.index(name) for name in wanted if name in columns} or {len(first) - 1}
    texts = [column for column, cell in enumerate(cells) if _is_text(cell, decimal)]
    for column in texts:
        there = [row[column] for row in below if not _is_gap(row[column])]
        if column not in expected and there and all(_is_number(cell, decimal) for cell in there):
            return True
    others = [cell for column, cell in enumerate(cells) if column not in texts]
    return _counts_on(["", *others[1:]] if cells[0] == "#" else others)


def _is_all_text(first: list[str], below: list[list[str]], decimal: str) -> bool:
    """Tell whether all cells of a row are different texts, none of which comes again below.

    The first column of a header, which numbers the rows, may lack a name or be called #.
    """
    below = [row for row in below[:HEAD_ROWS] if len(row) in (len(first), len(first) + 1)]
    texts = [column for column, cell in enumerate(first) if _is_text(cell, decimal)]
    if len(texts) < len(first):
        return texts == list(range(1, len(first))) and first[0].strip() in ("", "#")
    return len(set(first)) == len(first) and not any(
        first[column] == row[column] for row in below for column in texts
    )


def _is_number(cell: str, decimal: str) -> bool:
    """Tell whether a cell is a number or a truth value."""
    return number_in(cell.strip(), decimal) == number_in(cell.strip(), decimal)


def _is_gap(cell: str) -> bool:
    """Tell whether a cell says that a value is missing, as NA, ? or nothing at all does."""
    return cell.strip() in NA or not any(map(str.isalnum, cell))


def _is_text(cell: str, decimal: str) -> bool:
    """Tell whether a cell is text: neither a number nor a gap."""
    return not _is_gap(cell) and not _is_number(cell, decimal)


def _counts_on(cells: list[str]) -> bool:
    """Tell whether cells are 0, 1, 2, ... or 1, 2, ... or years, as names of columns may be."""
    cells = cells[1:] if cells and not cells[0] else cells
    if len(cells) < 3 or not all(cell.isdecimal() for cell in cells):
        return False
    first = int(cells[0])
    likely = first == 0 or (first == 1 and len(cells) > 4) or 1800 <= first <= 2100
    return likely and cells == [str(first + number) for number in range(len(cells))]
