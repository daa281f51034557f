"""Tables of other programs, read block by block: text by pandas here, others in parquet.py."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from disttrain.data.cells import NA
from disttrain.data.importers.dialect import BLANKS, HEAD_BYTES, Dialect, sniff, words_of
from disttrain.data.importers.parquet import ParquetTable
from disttrain.data.importers.source import Read, open_source
from disttrain.errors import DataError, DisttrainError

if TYPE_CHECKING:
    import pandas

__all__ = ["Table", "open_table"]

BLOCK_CELLS, MOST_ROWS = 4 << 20, 1 << 16
"""Cells of a table, and rows, read at once: each column of a block costs time of its own."""

MOST_COLUMNS = 1 << 18
PARQUET = b"PAR1"


class Table(Protocol):
    """Named columns of cells, which can be read as often as one likes."""

    path: Path
    names: list[str]

    def blocks(
        self, texts: Collection[int] = (), classes: Collection[int] = ()
    ) -> Iterator[pandas.DataFrame]:
        """Yield the rows block by block, the columns called by their numbers.

        The columns `texts` are read as text; of these `classes` hold names of classes, in which
        only an empty cell is missing, and NA is a name. Raises DataError.
        """

    def place(self, row: int, column: int) -> str:
        """Return the words for a cell: file, line or row, and column."""


def open_table(
    path: Path, target: str | None, decimal: str, na: Sequence[str], read: Read | None = None
) -> Table:
    """Open the table at `path`; `target` is the column that was asked for. Raises DataError."""
    read = read or (lambda path, rows, part: None)
    with open_source(path) as stream:
        parquet = stream.read(len(PARQUET)) == PARQUET
    table: Table = (
        ParquetTable(path, BLOCK_CELLS, MOST_ROWS, read)
        if parquet
        else TextTable(path, target, decimal, na, read)
    )
    if len(table.names) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(table.names)} columns: at most {MOST_COLUMNS} are read")
    return table


class TextTable:
    """A table of text, compressed or not; lines and blanks as in `Dialect`."""

    def __init__(
        self, path: Path, target: str | None, decimal: str, na: Sequence[str], read: Read
    ) -> None:
        self.path, self._decimal, self._na, self._read = path, decimal, tuple(na), read
        self._dialect: Dialect = sniff(path, target, decimal, na)
        self.names = self._dialect.names
        self._whole = False

    def blocks(
        self, texts: Collection[int] = (), classes: Collection[int] = ()
    ) -> Iterator[pandas.DataFrame]:
        """Yield blocks of rows."""
        import pandas

        columns = range(len(self.names))
        missing = {n: ["", *self._na] if n in classes else [*NA, *self._na] for n in columns}
        rows, parts = 0, [0.0]
        with (
            open_source(self.path, parts.append) as stream,
            self._sentences(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of pandas: what they are about is looked at here
            lines = io.BufferedReader(_Lines(stream, self.path, self._dialect))
            for block in pandas.read_csv(
                lines, sep=self._dialect.separator, encoding=self._dialect.encoding,
                header=0 if self._dialect.header else None, names=columns,
                skiprows=self._dialect.skip, dtype=dict.fromkeys(texts, "str"), low_memory=False,
                skipinitialspace=True, decimal=self._decimal, keep_default_na=False,
                na_values=missing, chunksize=_rows_at_once(len(columns)),
            ):  # fmt: skip
                # Cells that a line has too many become an index, those that it lacks are missing.
                if not isinstance(block.index, pandas.RangeIndex) or (
                    not self._whole and block[columns[-1]].isna().any()
                ):
                    self._refuse_widths()
                # As a copy it has an array for each type, not one for each column.
                yield block.copy()
                rows += len(block)
                self._read(self.path, rows, parts[-1])
                del parts[:-1]

    def place(self, row: int, column: int) -> str:
        """Return the words for a cell. Reads the file up to there."""
        line = next((line for n, (line, _) in enumerate(self._rows()) if n == row), "?")
        return f"{self.path}, line {line}, column '{self.names[column]:.60}'"

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the cells of each row but the header."""
        return islice(self._written(), int(self._dialect.header), None)

    def _written(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the last line and the cells of each row, by a slower reader."""
        with open_source(self.path) as stream:
            text = io.TextIOWrapper(stream, encoding=self._dialect.encoding, newline="")
            for _ in range(self._dialect.skip):
                text.readline()
            found: Iterator[tuple[int, list[str]]]
            if self._dialect.separator == BLANKS:
                found = ((n, words_of(line)) for n, line in enumerate(text, 1))
            else:
                reader = csv.reader(text, delimiter=self._dialect.separator, skipinitialspace=True)
                found = ((reader.line_num, cells) for cells in reader)
            for line, cells in found:
                if len(cells) > 1 or any(map(str.strip, cells)):
                    yield line + self._dialect.skip, cells
            text.detach()

    def _refuse_widths(self) -> None:
        for line, cells in self._rows():
            if len(cells) != len(self.names):
                many = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
                raise DataError(
                    f"{self.path}, line {line}: {many}, but the table has {len(self.names)} "
                    "columns: correct the line"
                )
        self._whole = True

    def _refuse_open_quote(self) -> None:
        before, end, whole = 0, self._dialect.skip, False
        with suppress(csv.Error):  # where the cell is too long
            for line, _ in self._written():
                before, end = end, line
            whole = True
        raise DataError(
            f"{self.path}, line {(before if whole else end) + 1}: a cell begins with a quote that "
            "is never closed: close it, or take it out"
        )

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except DisttrainError:
            raise
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path} is not text in UTF-8 ({error.reason}): convert it, as with iconv -f "
                "latin1 -t utf-8"
            ) from error
        except (ValueError, csv.Error) as error:  # pandas' own are of the first kind
            if "EOF inside string" in str(error):
                self._refuse_open_quote()
            self._refuse_widths()
            said = re.sub(r"\s+", " ", str(error))
            raise DataError(f"{self.path} is not a readable table ({said:.200})") from error


def _rows_at_once(columns: int) -> int:
    return max(64, min(MOST_ROWS, BLOCK_CELLS // columns))


class _Lines(io.RawIOBase):
    """A stream of text without the lines of separators alone that spreadsheets write at the end.

    It refuses lines without end, which would fill the memory.
    """

    def __init__(self, stream: BinaryIO, path: Path, dialect: Dialect) -> None:
        self._stream, self._path, self._since = stream, path, 0
        self._empty = f"{dialect.separator}\r\n ".encode()
        self._held, self._ready = b"", b""
        self._holds = dialect.encoding != "utf-16" and dialect.separator != BLANKS

    def readable(self) -> bool:
        """Return True, as for all that can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible; return the number of bytes."""
        while not self._ready:
            read = self._stream.read(len(buffer))
            if not read:
                return 0
            self._ready, self._held = self._without_end(self._held + read)
        content, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(content)] = content
        last = max(content.rfind(b"\n"), content.rfind(b"\r"))
        self._since = len(content) - last - 1 if last >= 0 else self._since + len(content)
        if self._since > HEAD_BYTES:
            raise DataError(
                f"{self._path} has a line of over {HEAD_BYTES >> 20} MiB, which no table has"
            )
        return len(content)

    def _without_end(self, content: bytes) -> tuple[bytes, bytes]:
        """Return `content` up to the last line that holds a cell, and the lines behind it."""
        if not self._holds or len(content) > HEAD_BYTES:
            return content, b""
        filled = len(content.rstrip(self._empty))
        if self._held and not filled:
            return b"", content
        end = content.find(b"\n", filled) + 1
        return (content[:end], content[end:]) if end else (content, b"")
