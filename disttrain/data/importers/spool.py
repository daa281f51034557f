"""Rows on their way into a data file that may be too many for the memory: a file without a name."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from disttrain.data.format import Array
from disttrain.errors import DataError

__all__ = ["Spool", "blocks_of", "released", "taken"]

BLOCK_BYTES = 8 << 20
IN_MEMORY = 64 << 20
"""Bytes of rows that stay in memory."""

MORE = 8
"""Times larger are the blocks that are gathered from a file."""


class Spool:
    """Blocks of rows, one after the other; `rows` is all of them as one array.

    `shape` is that of one row. Large ones lie in a file in `folder` (None: where temporary files
    go), which has no name there and is gone with the last array that uses it.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype, folder: Path | None = None) -> None:
        self.shape, self.dtype, self.count = tuple(shape), dtype, 0
        self._folder, self._blocks, self._held = folder, list[Array](), 0
        self._file: IO[bytes] | None = None

    def append(self, block: Array) -> None:
        """Add rows behind the others. Raises DataError where the disk refuses them."""
        block = np.ascontiguousarray(block, self.dtype)
        self.count += len(block)
        self._held += block.nbytes
        if self._file is None and self._held <= IN_MEMORY:
            self._blocks.append(block)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            for each in (*self._blocks, block):
                self._file.write(each.data)
            self._file.flush()
            self._blocks.clear()
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise DataError(
                f"{self._folder or tempfile.gettempdir()} can't hold the rows while they are read "
                f"({cause}): free some space there"
            ) from error

    def rows(self) -> Array:
        """Return all rows; not to be written to."""
        shape = (self.count, *self.shape)
        if self._file is not None:
            return np.memmap(self._file, self.dtype, "r", shape=shape)
        return np.concatenate([np.empty((0, *self.shape), self.dtype), *self._blocks])


def taken(array: Array, rows: Array, folder: Path | None = None) -> Array:
    """Return `array[rows]`; of an array that lies in a file, in another one in `folder`."""
    if not isinstance(array, np.memmap):
        return np.asarray(array[rows])
    spool = Spool(array.shape[1:], array.dtype, folder)
    for block in blocks_of(array, rows, BLOCK_BYTES):
        spool.append(block)
    return spool.rows()


def blocks_of(array: Array, order: Array | None, most: int) -> Iterator[Array]:
    """Yield the rows of an array in an order (None: their own), in blocks of about `most` bytes.

    Of an array that lies in a file larger blocks are gathered from one part of it after the other,
    as the system maps far more of a file than the rows that are asked for.
    """
    rows = len(array) if order is None else len(order)
    gathered = order is not None and getattr(array, "_mmap", None) is not None
    step = max(1, most * (MORE if gathered else 1) // max(1, array[:1].nbytes))
    for low in range(0, rows, step):
        if order is None:
            yield array[low : low + step]
        else:
            chosen = order[low : low + step]
            yield _gathered(array, chosen, step) if gathered else array[chosen]
        released(array)


def _gathered(array: Array, rows: Array, part: int) -> Array:
    """Return `array[rows]`, taken from `part` neighbouring rows after the other."""
    made = np.empty((len(rows), *array.shape[1:]), array.dtype)
    places = np.argsort(rows, kind="stable")
    rising = rows[places]
    for low in range(0, len(array), part):
        here = slice(*np.searchsorted(rising, (low, low + part)))
        made[places[here]] = array[rising[here]]
        released(array)
    return made


def released(array: Array) -> None:
    """Let go of the memory through which an array that lies in a file was read; it stays valid.

    Changes to a copy-on-write one ("c") are in that memory alone, so it is kept.
    """
    mapped: mmap.mmap | None = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", "") in ("r", "r+"):
        mapped.madvise(mmap.MADV_DONTNEED)
