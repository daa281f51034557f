"""Arrays in chunks: where each chunk is, and the rows that lie in some of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from disttrain.hdf5.filters import Filter
from disttrain.hdf5.header import Header
from disttrain.hdf5.source import Fields, Metadata, Refused

__all__ = ["Chunks", "chunks_of"]

# Of one chunk, unpacked.
CHUNK_BYTES = 32 << 20
# An array may be so many times as large as what is stored of it (and a small one larger).
RATIO, SMALL = 200, 1 << 20
LEVELS = 8
UNPACKED = 4


class Chunks:
    """The chunks of an array of `shape`; `places` and `sizes` are by chunk, in row-major order."""

    def __init__(
        self, metadata: Metadata, path: str, shape: tuple[int, ...], chunk: tuple[int, ...],
        dtype: np.dtype[Any], filters: list[Filter],
    ) -> None:  # fmt: skip
        self.path, self.shape, self.chunk, self.dtype = path, shape, chunk, dtype
        self.grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        self._metadata, self._filters = metadata, filters
        self._length = math.prod(chunk) * dtype.itemsize
        self._unpacked: dict[int, np.ndarray] = {}

    def find(self, root: int) -> None:
        """Read where the chunks are; raise Refused where one is missing, or a bomb."""
        count = math.prod(self.grid)
        # What is not stored would be made up of the fill value, without a limit.
        least = 1 if self._filters else self._length
        if count * least > self._metadata.source.size:
            raise Refused(f"{self.path} has shape {self.shape}, but far less is stored")
        self._places = np.full((count, 3), -1, np.int64)
        for place, *entry in self._entries(root, LEVELS):
            self._places[place] = entry
        sizes = self._places[:, 1]
        if (sizes <= 0).any():
            raise Refused(f"{self.path} has shape {self.shape}, but not all of it is stored")
        stored, length = int(sizes.sum()), math.prod(self.shape) * self.dtype.itemsize
        if stored > self._metadata.source.size or length > max(SMALL, RATIO * stored):
            raise Refused(
                f"{self.path} unpacks {stored} bytes to {length}, more than {RATIO} times as many",
                "write it again without a filter (`h5repack -f NONE OLD NEW`)",
            )

    def _entries(self, address: int, above: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield number, place, size and mask of the chunks below the node at `address`."""
        metadata, rank = self._metadata, len(self.shape)
        node = metadata.fields(address, 24, b"TREE")
        kind, level, count = node.number(1), node.number(1), node.number(2)
        if kind != 1 or level >= above:
            raise Refused(f"the table of chunks of {self.path} is damaged")
        width = 8 + 8 * (rank + 1) + 8
        entries = metadata.fields(address + 24, count * width)
        for _ in range(count):
            size, mask = entries.number(4), entries.number(4)
            corner = [entries.number(8) for _ in range(rank + 1)]
            child = entries.number(8)
            if level:
                yield from self._entries(child, level)
                continue
            if any(o % c or o >= n for o, c, n in zip(corner, self.chunk, self.shape)):
                raise Refused(f"{self.path} has a chunk outside of its shape")
            place = [o // c for o, c in zip(corner, self.chunk)]
            number = int(np.ravel_multi_index(place, self.grid))
            if not self._filters and size != self._length:
                raise Refused(f"{self.path} has a chunk of {size} bytes, not {self._length}")
            yield number, metadata.place(child, size), size, mask

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`, put together from their chunks."""
        found = np.empty((end - first, *self.shape[1:]), self.dtype)
        span = range(first // self.chunk[0], -(-end // self.chunk[0]) if end > first else 0)
        for place in itertools.product(span, *map(range, self.grid[1:])):
            values = self._values(int(np.ravel_multi_index(place, self.grid)))
            low = place[0] * self.chunk[0]
            start, stop = max(first, low), min(end, low + self.chunk[0])
            corner = [p * c for p, c in zip(place[1:], self.chunk[1:], strict=True)]
            ends = [min(o + c, n) for o, c, n in zip(corner, self.chunk[1:], self.shape[1:])]
            there = tuple(slice(o, e) for o, e in zip(corner, ends, strict=True))
            here = tuple(slice(0, e - o) for o, e in zip(corner, ends, strict=True))
            found[(slice(start - first, stop - first), *there)] = values[
                (slice(start - low, stop - low), *here)
            ]
        return found

    def _values(self, number: int) -> np.ndarray:
        """Return a chunk, unpacked; the last few are kept, as blocks of rows share them."""
        if number not in self._unpacked:
            while len(self._unpacked) >= UNPACKED:
                del self._unpacked[next(iter(self._unpacked))]
            self._unpacked[number] = self._unpack(number)
        return self._unpacked[number]

    def _unpack(self, number: int) -> np.ndarray:
        place, size, mask = map(int, self._places[number])
        content = bytes(self._metadata.source.read(place, size))
        for bit, filtered in reversed(list(enumerate(self._filters))):
            if not mask >> bit & 1:
                # A checksum of 4 bytes may still stand behind.
                content = filtered.undo(content, self._length + 4)
        if len(content) != self._length:
            raise Refused(f"a chunk of {self.path} has {len(content)} bytes, not {self._length}")
        return np.frombuffer(content, self.dtype).reshape(self.chunk)


def chunks_of(
    header: Header, layout: Fields, shape: tuple[int, ...], dtype: np.dtype[Any],
    filters: list[Filter],
) -> Chunks:  # fmt: skip
    """Return the chunks that a layout message of version 3 states."""
    rank, address = layout.number(1) - 1, layout.number(8)
    chunk = tuple(layout.number(4) for _ in range(rank + 1))
    length = math.prod(chunk)
    if rank != len(shape) or rank < 1 or 0 in chunk or chunk[-1] != dtype.itemsize:
        raise Refused(f"{header.path} has shape {shape}, but chunks of {chunk}")
    if length > CHUNK_BYTES:
        raise Refused(f"{header.path} has chunks of {length} bytes, over {CHUNK_BYTES}")
    found = Chunks(header.metadata, header.path, shape, chunk[:-1], dtype, filters)
    found.find(address)
    return found
