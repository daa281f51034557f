"""Imports a table of comma-separated values: one row per sample, one column holds the target."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from disttrain.data.format import Array, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.source import open_source
from disttrain.data.importers.table_target import TARGET_NAMES, Column, target_array
from disttrain.errors import DataError

__all__ = ["import_csv"]

BLOCK_CELLS = 1 << 20

Row = tuple[int, list[str]]
"""Line number and cells."""


@dataclass
class _Table:
    """The columns of a table: their names, and which of them are targets."""

    path: Path
    names: list[str]
    targets: list[int]
    lines: list[int] = field(default_factory=list)
    target_cells: list[list[str]] = field(default_factory=list)

    @property
    def inputs(self) -> list[int]:
        """The columns that are not targets."""
        return [column for column in range(len(self.names)) if column not in self.targets]


def import_csv(path: Path, *, target: str | None = None, regression: bool = False) -> Imported:
    """Read a table, gzipped or plain, separated by commas, semicolons or tabs.

    Inputs are (rows, columns): uint8 where all are whole numbers from 0 to 255, else float32.
    `target` is the name of the target column, or several with commas between them; a file without
    a header has columns named 1, 2, ... Left out, it is the column label, target, class or y, else
    the last. Raises DataError that names the line and the column.
    """
    with open_source(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        try:
            table, inputs = _read(text, path, target)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not text in UTF-8 ({error.reason}): convert it") from error
        except csv.Error as error:
            raise DataError(f"{path} is not a readable table ({error}): check the file") from error
        finally:
            text.detach()
    columns = [
        Column(path, table.names[index], table.lines, cells)
        for index, cells in zip(table.targets, table.target_cells, strict=True)
    ]
    targets, classes = target_array(columns, regression)
    splits = {"train": (inputs, targets)}
    check_splits(splits, path)
    return Imported(splits, classes)


def _read(text: TextIO, path: Path, target: str | None) -> tuple[_Table, Array]:
    first_line = text.readline()
    if "\0" in first_line:
        raise DataError(f"{path} is not a table of text: check the path")
    separator = max(",;\t", key=first_line.count)
    reader = csv.reader(itertools.chain([first_line], text), delimiter=separator)
    rows: Iterator[Row] = ((reader.line_num, cells) for cells in reader if any(cells))
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty: a table needs at least one row")
    table = _open_table(path, first[1], target)
    if table.names is not first[1]:
        rows = itertools.chain([first], rows)
    table.target_cells = [[] for _ in table.targets]
    blocks = [_block_of(table, block) for block in _blocks_of(rows, len(table.names))]
    if not blocks:
        raise DataError(f"{path} holds a header but no rows: add rows")
    if not all(block.dtype == np.uint8 for block in blocks):
        blocks = [block.astype(np.float32, copy=False) for block in blocks]
    return table, np.concatenate(blocks)


def _open_table(path: Path, first: list[str], target: str | None) -> _Table:
    """Decide from the first row what the columns are called and which are targets."""
    numbered = [str(number) for number in range(1, len(first) + 1)]
    names = first if _is_header(first, numbered, target) else numbered
    wanted = [target] if target is None or target in names else target.split(",")
    targets = [_column_of(names, name, path) for name in wanted]
    if len(set(targets)) == len(names):
        raise DataError(f"{path} has no column but the target: inputs are missing")
    if len(set(targets)) < len(targets):
        raise DataError(f"{path}: the target names a column twice: name each once")
    return _Table(path, names, targets)


def _is_header(first: list[str], numbered: list[str], target: str | None) -> bool:
    """Tell a header from a first row of data.

    In data only the target may be text. So text in another column makes a header, and so does a
    name that was asked for or that only a header would have.
    """
    texts = [column for column, cell in enumerate(first) if not _is_number(cell)]
    wanted = target.split(",") if target is not None else []
    if any(first[column] in (target, *wanted) for column in texts):
        return True
    if wanted and all(name in numbered for name in wanted):
        expected = [numbered.index(name) for name in wanted]
    else:
        expected = [len(first) - 1]
    if any(column not in expected for column in texts):
        return True
    return any(first[column].strip().lower() in TARGET_NAMES for column in texts)


def _column_of(names: Sequence[str], target: str | None, path: Path) -> int:
    if target is not None:
        found = [column for column, name in enumerate(names) if name.strip() == target.strip()]
        if len(found) == 1:
            return found[0]
        some = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        trouble = "several columns" if found else "no column"
        raise DataError(f"{path} has {trouble} '{target}': the columns are {some}")
    lowered = [name.strip().lower() for name in names]
    known = [name for name in TARGET_NAMES if name in lowered]
    return lowered.index(known[0]) if known else len(names) - 1


def _blocks_of(rows: Iterator[Row], columns: int) -> Iterator[list[Row]]:
    size = max(1, BLOCK_CELLS // columns)
    while block := list(itertools.islice(rows, size)):
        yield block


def _block_of(table: _Table, block: list[Row]) -> Array:
    """Turn rows of text into inputs; their targets go to the table, still as text."""
    wanted = table.inputs
    cells = []
    for line, row in block:
        if len(row) != len(table.names):
            raise DataError(
                f"{table.path}, line {line}: {len(row)} cells, but the table has "
                f"{len(table.names)} columns: correct the line"
            )
        table.lines.append(line)
        for kept, column in zip(table.target_cells, table.targets, strict=True):
            kept.append(row[column].strip())
        cells.append([row[column] for column in wanted])
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        raise DataError(_first_text(table, block)) from None
    if ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        return values.astype(np.uint8)
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(small))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{table.path}, line {block[row][0]}, column '{table.names[wanted[column]]}': "
            f"{cells[row][column].strip()} is not a finite number of 4 bytes: "
            "fill it in or remove the line"
        )
    return small


def _first_text(table: _Table, block: list[Row]) -> str:
    line, column, cell = next(
        (line, column, row[column].strip())
        for line, row in block
        for column in table.inputs
        if not _is_number(row[column])
    )
    what = f"'{cell[:40]}' is not a number" if cell else "the cell is empty"
    return (
        f"{table.path}, line {line}, column '{table.names[column]}': {what}: "
        "inputs must be numbers, so correct or remove it"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
