"""Whether the first row of a table of text names its columns, and what these are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from disttrain.data.cells import NA, number_in, plain_text
from disttrain.errors import DataError

__all__ = [
    "HEAD_ROWS",
    "NAMELESS",
    "TARGET_NAMES",
    "again_index",
    "begins_with_header",
    "in_title",
    "is_index",
    "names_of",
    "numbered",
    "refuse_unclear",
]

TARGET_NAMES = ("label", "target", "class", "y")
"""What the target column is called where nobody says, in order of preference."""

HEAD_ROWS = 50
FEW_ROWS = 10
"""So few classes may be all different."""

NAMELESS = "Unnamed: "
"""Behind it stands the number of a column that has no name, as pandas calls it; "" is the first."""

INDEX_NAMES = (
    "", "unnamed: 0", "__index_level_0__", "index", "rownames", "row", "row_number", "id", "nr",
    "no", "obs",
)  # fmt: skip
"""What a first column is called that only numbers the rows, in capitals or not."""

AGAIN = re.compile(r"Unnamed: 0(\.\d+)*")
"""What pandas calls the index of a table that it wrote and read before."""

ID = re.compile(r"[a-z]I[dD]$|[_ .-][iI][dD]$")
"""PassengerId, customer_id, Loan ID."""


def names_of(first: Sequence[str], below: Sequence[Sequence[str]]) -> list[str]:
    """Return the names in a header. The first column may lack one, and so may the last ones."""
    names = [plain_text(name) for name in first]
    more = _empty_ends(first, below)
    if not more and below and all(len(row) == len(first) + 1 for row in below):
        names.insert(0, "")
    names += [""] * more
    return [name or f"{NAMELESS}{n}" * (n > 0) for n, name in enumerate(names)]


def numbered(first: Sequence[str]) -> list[str]:
    """Return what columns without names are called."""
    return [str(number) for number in range(1, len(first) + 1)]


def _empty_ends(first: Sequence[str], below: Sequence[Sequence[str]]) -> int:
    """Return by how many cells, all of them empty, each row is longer than the first one."""
    widths = {len(row) for row in below}
    if len(widths) != 1 or any(cell.strip() for row in below for cell in row[len(first) :]):
        return 0
    return max(0, widths.pop() - len(first))


def is_index(name: str) -> bool:
    """Tell whether a first column may be there to number or name the rows."""
    return name.lower() in INDEX_NAMES or ID.search(name) is not None


def again_index(name: str) -> bool:
    """Tell whether a column is the index of a table that pandas wrote, read and wrote again."""
    return AGAIN.fullmatch(name) is not None


def refuse_unclear(
    path: Path, rows: list[list[str]], header: bool, target: str | None, decimal: str
) -> None:
    """Raise DataError for a title above the table, and for names that may be moved by a column."""
    (width, count), *_ = Counter(map(len, rows)).most_common(1)
    filled = max(_filled(row) for row in rows if len(row) == width)
    short = len(rows[0]) + 1 < filled
    if len(rows[0]) == 1 and filled == 2 and len(rows) > 2:
        short = is_header(rows[1], rows[2:], target, decimal)
    there = _filled(rows[0])
    # Spreadsheets fill the line of a title with empty cells.
    if not header and there == 1 < filled and len(rows[0]) > 1 and len(rows) > 2:
        again = any(row[:1] == rows[0][:1] for row in rows[1:])
        short = not again and is_header(rows[1], rows[2:], target, decimal)
    if short and 2 * count > len(rows):
        raise DataError(
            f"{path}: the first line has {there} cell{'s' * (there > 1)}, but most "
            f"have {filled}: take out what stands above the names of the columns"
        )
    moved = _may_be_moved(rows[0], rows[1:], target) or _lacks_a_name(rows[0], rows[1:])
    if header and moved:
        raise DataError(
            f"{path}: the rows have one cell more than the first line has names: name the first "
            "column too, or take out the separators at the ends of the rows"
        )


def _lacks_a_name(first: list[str], below: list[list[str]]) -> bool:
    """Tell whether rows have a cell more than there are names, of which the first is no index.

    Those of an index, as R writes it without a name, are different whole numbers or texts.
    """
    width = len(first) + 1
    if width == 2 or _empty_ends(first, below) or any(len(row) != width for row in below):
        return False
    cells = [row[0].strip() for row in below]
    numbers = [number_in(cell) for cell in cells]
    return len(set(cells)) < len(cells) or any(value % 1 > 0 for value in numbers)


def _filled(row: Sequence[str]) -> int:
    """Return how many cells a row has without the empty ones at its end."""
    return next((n for n in range(len(row), 0, -1) if row[n - 1].strip()), 0)


def _may_be_moved(first: list[str], below: list[list[str]], target: str | None) -> bool:
    """Tell whether the first cells of rows with an empty last one may be their numbers or names.

    Those of a named index are, and classes in a few rows may look so, which is no doubt.
    """
    name = first[0].strip()
    if _empty_ends(first, below) != 1 or len(below) < 2 or is_index(name):
        return False
    known = name.lower() in TARGET_NAMES or (target is not None and name in target.split(","))
    if known and len(below) <= FEW_ROWS:
        return False
    cells = [row[0].strip() for row in below]
    if all(_is_text(cell, ".") for cell in cells):
        return len(set(cells)) == len(cells)
    return any(cells == [str(start + n) for n in range(len(cells))] for start in (0, 1))


def begins_with_header(
    rows: list[list[str]], target: str | None, decimal: str, na: Sequence[str]
) -> bool:
    """Tell whether the first row is a header, where cells that are one of `na` are missing.

    A row of texts, one of which is the word for a missing cell, is one where none of them comes
    again below.
    """
    first, *below = [["NA" if cell.strip() in na else cell for cell in row] for row in rows]
    if is_header(first, below, target, decimal):
        return True
    if first == rows[0] or not _is_all_text(rows[0], rows[1:], decimal):
        return False
    names = [cell.strip() for cell in rows[0]]
    return not any(
        name and name == cell.strip()
        for row in rows[1:]
        for name, cell in zip(names, row, strict=False)
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
    below = [row for row in _like(first, below) if row != first]
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
    below = _like(first, below)
    texts = [column for column, cell in enumerate(first) if _is_text(cell, decimal)]
    if len(texts) < len(first):
        return texts == list(range(1, len(first))) and first[0].strip() in ("", "#")
    return len(set(first)) == len(first) and not any(
        first[column] == row[column] for row in below for column in texts
    )


def _like(first: list[str], below: list[list[str]]) -> list[list[str]]:
    """Return the first rows that have as many cells as `first`, or one more, and empty ones."""
    width = len(first)
    return [row for row in below[:HEAD_ROWS] if len(row) >= width and _filled(row) <= width + 1]


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
