"""Parquet files as tables, in blocks of rows that fit the memory whatever their groups of rows."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.data.cells import plain_cells
from disttrain.data.importers.source import RATIO, SMALL, Read, reading
from disttrain.data.importers.spool import released
from disttrain.errors import DataError, DisttrainError, UsageError

if TYPE_CHECKING:
    import pandas

__all__ = ["ParquetTable"]

COLUMN_BYTES, PAGE_BYTES, WIDE_BYTES = 40 << 10, 1 << 20, 128 << 20
"""What pyarrow holds for each column besides a page of it; where all of this is more, the columns
of a group of rows are read some at a time."""

MOST_AT_ONCE = 1000
"""Columns."""


class ParquetTable:
    """A Parquet file, its columns of numbers, truth values, dates and text.

    A block has so many cells, but at least 64 and at most `most_rows` rows.
    """

    def __init__(self, path: Path, block_cells: int, most_rows: int, read: Read) -> None:
        self.path, self._read = path, read
        with self._sentences():
            file = self._open()
            self.names: list[str] = _index_first(file.schema_arrow)
            self._rows = file.metadata.num_rows
            cells = self._rows * len(self.names)
            nested = any(kind.num_fields for kind in file.schema_arrow.types)
        if nested:
            raise DataError(f"{path} has columns of lists or records: make a column of each value")
        if not cells:
            raise DataError(f"{path} has no rows or no columns: a table needs at least one")
        if cells > max(SMALL, RATIO * path.stat().st_size):
            raise DataError(
                f"{path} holds {cells} cells, more than {RATIO} times its size: write it again "
                "without compression if you trust it"
            )
        self._block_cells = block_cells
        self._block_rows = max(64, min(most_rows, block_cells // len(self.names)))

    def blocks(
        self, texts: Collection[int] = (), classes: Collection[int] = ()
    ) -> Iterator[pandas.DataFrame]:
        """Yield blocks of rows; each column has its type, whatever is asked for."""
        with self._sentences():
            file = self._open()
            meta = file.metadata
            largest = max(meta.row_group(n).num_rows for n in range(meta.num_row_groups))
        pages = len(self.names) * (COLUMN_BYTES + min(PAGE_BYTES, 8 * largest))
        found = self._by_rows(file) if pages <= WIDE_BYTES else self._by_columns(file)
        start = 0
        while True:
            with self._sentences():
                block = next(found, None)
            if block is None:
                return
            block = plain_cells(block)
            block.index = range(start, start + len(block))
            start += len(block)
            yield block
            self._read(self.path, start, start / self._rows)

    def place(self, row: int, column: int) -> str:
        """Return the words for a cell."""
        return f"{self.path}, row {row}, column '{self.names[column]:.60}'"

    def _open(self) -> Any:
        # Without these pyarrow reads a whole group of rows ahead.
        return _pyarrow().ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 16)

    def _by_rows(self, file: Any) -> Iterator[pandas.DataFrame]:
        for batch in file.iter_batches(self._block_rows, use_threads=False):
            yield batch.select(self.names).to_pandas(ignore_metadata=True)

    def _by_columns(self, file: Any) -> Iterator[pandas.DataFrame]:
        """Yield blocks of a wide table: numbers pass through a file, column after column."""

        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if not rows:
                continue
            step = max(1, min(MOST_AT_ONCE, self._block_cells // rows))
            others: dict[int, pandas.Series] = {}
            kinds = np.full(len(self.names), "", "U2")
            with tempfile.TemporaryFile() as spool:
                for low in range(0, len(self.names), step):
                    names = self.names[low : low + step]
                    part = file.read_row_group(group, names, use_threads=False)
                    columns = part.select(names).to_pandas(ignore_metadata=True)
                    for number, (_, cells) in enumerate(columns.items(), low):
                        if cells.dtype.kind in "iuf" and cells.dtype.itemsize <= 8:
                            kinds[number] = cells.dtype.kind + "8"
                            spool.write(np.ascontiguousarray(cells, kinds[number]).data)
                        else:
                            others[number] = cells
                            spool.seek(8 * rows, 1)
                spool.truncate(8 * rows * len(self.names))
                stored = np.memmap(spool, "f8", "r", shape=(len(self.names), rows))
                for start in range(0, rows, self._block_rows):
                    yield _block(stored, kinds, others, slice(start, start + self._block_rows))
                    released(stored)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            with reading(self.path):
                yield
        except DisttrainError:
            raise
        # pyarrow reports damage by errors of many classes.
        except Exception as error:
            said = re.sub(r"\s+", " ", str(error))
            raise DataError(f"{self.path} is a damaged Parquet file ({said:.200})") from error


def _block(
    stored: np.memmap[Any, Any], kinds: np.ndarray, others: dict[int, pandas.Series], rows: slice
) -> pandas.DataFrame:
    """Return rows of a table whose numbers of 8 bytes are stored column by column."""
    import pandas

    parts = []
    for kind in np.unique(kinds[kinds != ""]):
        numbers = np.flatnonzero(kinds == kind)
        parts.append(pandas.DataFrame(stored.view(kind)[numbers, rows].T, columns=numbers))
    parts += [cells.iloc[rows].reset_index(drop=True).to_frame(n) for n, cells in others.items()]
    whole = parts[0] if len(parts) == 1 else pandas.concat(parts, axis=1)
    return whole if len(parts) == 1 else whole[list(range(len(kinds)))]


def _index_first(schema: Any) -> list[str]:
    """Return the names of columns, those of pandas' index first, as in its tables of text."""
    names = list(schema.names)
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    first = [name for name in index if isinstance(name, str) and name in names]
    return first + [name for name in names if name not in first]


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "reading Parquet needs pyarrow, which is not installed: pip install 'disttrain[tables]'"
        ) from error
    return pyarrow.parquet
