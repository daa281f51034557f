"""Rows on their way into a data file that may be too many for the memory: a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from disttrain.data.format import Array
from disttrain.errors import DataError

__all__ = ["Spool", "taken"]

BLOCK_BYTES = 8 << 20


class Spool:
    """Blocks of rows appended to a file; `rows` is all of them as one array, read when used.

    `shape` is that of one row. The file lies in `folder` (None: where temporary files go), has no
    name there, and is gone with the last array that uses it.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype, folder: Path | None = None) -> None:
        self.shape, self.dtype, self.count = tuple(shape), dtype, 0
        self._folder = str(folder or tempfile.gettempdir())
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as its rows

    def append(self, block: Array) -> None:
        """Write rows behind the others. Raises DataError where the disk refuses them."""
        try:
            self._file.write(np.ascontiguousarray(block, self.dtype).data)
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise DataError(
                f"{self._folder} can't hold the rows while they are read ({cause}): free some "
                "space there"
            ) from error
        self.count += len(block)

    def rows(self) -> Array:
        """Return all rows; read-only."""
        self._file.flush()
        shape = (self.count, *self.shape)
        if not np.prod(shape):
            return np.empty(shape, self.dtype)
        return np.memmap(self._file, self.dtype, "r", shape=shape)

    def narrow(self, dtype: np.dtype) -> None:
        """Turn what was written into a smaller `dtype`, in its place."""
        size = int(np.prod(self.shape))
        step = max(1, BLOCK_BYTES // max(1, size * self.dtype.itemsize))
        self._file.flush()
        for low in range(0, self.count, step):
            high = min(low + step, self.count)
            self._file.seek(low * size * self.dtype.itemsize)
            content = self._file.read((high - low) * size * self.dtype.itemsize)
            self._file.seek(low * size * dtype.itemsize)
            self._file.write(np.frombuffer(content, self.dtype).astype(dtype).data)
        self._file.truncate(self.count * size * dtype.itemsize)
        self.dtype = dtype


def taken(array: Array, rows: Array) -> Array:
    """Return `array[rows]`; of an array that lies in a file, in another file."""
    if not isinstance(array, np.memmap):
        return np.asarray(array[rows])
    spool = Spool(array.shape[1:], array.dtype)
    for block in _blocks(array, rows):
        spool.append(block)
    return spool.rows()


def _blocks(array: Array, rows: Array) -> Iterator[Array]:
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for low in range(0, len(rows), step):
        yield array[rows[low : low + step]]
