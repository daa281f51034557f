"""How a table of text is written: its encoding and separator, found in its first lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from disttrain.data.cells import DECIMALS, number_in
from disttrain.data.importers.header import (
    HEAD_ROWS,
    begins_with_header,
    in_title,
    names_of,
    numbered,
    refuse_unclear,
)
from disttrain.data.importers.no_table import refuse_binary, refuse_other_texts
from disttrain.data.importers.source import open_source
from disttrain.errors import DataError

__all__ = ["BLANKS", "HEAD_BYTES", "Dialect", "sniff", "words_of"]

HEAD_BYTES = 4 << 20
"""A line that is longer is no table's."""

BLANKS = r"\s+"

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
QUOTED = re.compile(r'"([^"]*)"')
SAID = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """`skip` lines stand before the rows; `header` tells whether the first row names the columns.

    `names` are those of the columns: 1, 2, ... without a header. Where rows have one cell more than
    the header, the first column is nameless: it numbers the rows.
    """

    encoding: str
    separator: str
    skip: int
    header: bool
    names: list[str]


def sniff(path: Path, target: str | None, decimal: str, na: Sequence[str] = ()) -> Dialect:
    """Find out how the table at `path` is written. Raises DataError for what is no table.

    `target` is the column that was asked for, if any: a first row that holds it is a header. Cells
    that are one of `na` are missing, so they name no column, but in a row of texts that are names.
    """
    with open_source(path) as stream:
        start = stream.read(HEAD_BYTES)
    if not start:
        raise DataError(f"{path} is empty: a table needs at least one row")
    refuse_binary(path, start)
    encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
    text = _decoded(start, encoding, path)
    said = SAID.match(text)
    if said:
        text = text[said.end() :]
    lines = text.splitlines(keepends=True)
    refuse_other_texts(path, text, lines)
    if len(start) == HEAD_BYTES and len(lines) <= 1:
        raise DataError(f"{path} has no line end in its first {HEAD_BYTES >> 20} MiB: no table")
    above = sum(1 for _ in takewhile(lambda line: line.startswith("#"), lines)) % len(lines or [""])
    separator = said.group(1) if said else _separator(lines[above:], decimal)
    whole = lines[: len(lines) - (len(start) == HEAD_BYTES)]
    rows, names = list(_rows(whole[above:], separator)), list[str]()
    if not rows:
        raise DataError(f"{path} is empty: a table needs at least one row")
    title = next(_rows([whole[above - 1].lstrip("# ")], separator), []) if above else []
    if len(title) != len(rows[0]):
        title = []
    # numpy writes names behind a #.
    if title and in_title(title, rows, target, decimal, separator == BLANKS):
        header, names = False, names_of(title, rows)
    else:
        header = begins_with_header(rows, target, decimal, na)
        if title and not header:
            above, rows = 0, list(_rows(whole, separator))
    refuse_unclear(path, rows, header, target, decimal)
    names = names or (names_of(rows[0], rows[1:]) if header else numbered(rows[0]))
    # Lines of separators alone above the table, as spreadsheets write them.
    empty = takewhile(lambda line: not line.strip(f'{separator} "\t\r\n'), lines[above:])
    skip = int(said is not None) + above + sum(1 for _ in empty)
    return Dialect(encoding, separator, skip, header, names)


def _decoded(start: bytes, encoding: str, path: Path) -> str:
    try:
        text = start.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(start) - 4 or len(start) < HEAD_BYTES:
            raise DataError(
                f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}): convert it, "
                "as with iconv -f latin1 -t utf-8"
            ) from error
        text = start[: error.start].decode(encoding)
    return text


def _separator(lines: Sequence[str], decimal: str) -> str:
    """Return the separator that all of the first lines have, outside quotes, equally often."""
    first = [line for line in lines[:HEAD_ROWS] if line.strip()]
    outside = [QUOTED.sub("_", line) for line in first]
    if not outside:
        return ","
    # A decimal comma in quotes leaves the others to separate cells.
    if any(DECIMALS.fullmatch(cell.strip()) for line in first for cell in QUOTED.findall(line)):
        decimal = "."
    best, most = "", 0
    for separator in (mark for mark in ";\t|," if mark != decimal):
        count = _everywhere([line.count(separator) for line in outside])
        if count > most:
            best, most = separator, count
    if best and not (best == "\t" and _blanks_between_numbers(outside)):
        return best
    if _everywhere([len(line.split()) - 1 for line in outside]):
        return BLANKS
    # Lines differ, as where one is wrong, or a title stands above: most of them decide.
    often = {mark: _usual([line.count(mark) for line in outside]) for mark in ";\t|,"}
    often |= {decimal: 0, BLANKS: _usual([len(line.split()) - 1 for line in outside]) // 2}
    marks: list[str] = [*";\t|,", BLANKS]
    return max(marks, key=lambda mark: often[mark])


def _blanks_between_numbers(lines: Sequence[str]) -> bool:
    """Tell whether blanks separate the numbers of all lines, and tabs only some of the cells."""
    cells = [[cell.split() for cell in line.split("\t")] for line in lines[1:] or lines]
    return all(any(len(words) > 1 and _numeric(words) for words in row) for row in cells)


def _numeric(words: Sequence[str]) -> bool:
    """Tell whether most words are numbers; ? or NA may stand among them."""
    return sum(not np.isnan(number_in(word)) for word in words) > len(words) / 2


def _everywhere(counts: list[int]) -> int:
    """Return the number that all lines have, or all but a header that has one less; else 0."""
    below = set(counts[1:] or counts)
    most = below.pop()
    return most if not below and counts[0] in (most, most - 1) else 0


def _usual(counts: list[int]) -> int:
    """Return how many lines have the number above 0 that most of these have."""
    return max(Counter(count for count in counts if count).values(), default=0)


def words_of(line: str) -> list[str]:
    """Return what stands in a line between blanks, or in quotes."""
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]


def _rows(lines: Sequence[str], separator: str) -> Iterator[list[str]]:
    if separator == BLANKS:
        found: Iterator[list[str]] = map(words_of, lines)
    else:
        stream = io.StringIO("".join(lines), newline="")
        found = csv.reader(stream, delimiter=separator, skipinitialspace=True)
    try:
        for row in found:
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error:  # pandas says it better, with the line
        return
