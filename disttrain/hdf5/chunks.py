"""Arrays in chunks: where each chunk is, and the rows that lie in some of them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from disttrain.hdf5.filters import Filter
from disttrain.hdf5.header import Header
from disttrain.hdf5.source import Fields, Metadata, Refused

__all__ = ["Chunks", "chunks_of"]

# Of one chunk, unpacked; and of those that are kept, as blocks of rows share them.
CHUNK_BYTES = KEPT_BYTES = 16 << 20
# An array may be so many times as large as what is stored of it (and a small one larger).
RATIO, SMALL = 200, 1 << 20
LEVELS = 8


class Chunks:
    """The chunks of an array of `shape`, in row-major order: where each is, and what is in it."""

    def __init__(
        self, metadata: Metadata, path: str, shape: tuple[int, ...], chunk: tuple[int, ...],
        dtype: np.dtype[Any], filters: list[Filter],
    ) -> None:  # fmt: skip
        self.path, self.shape, self.chunk, self.dtype = path, shape, chunk, dtype
        self.grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        self.count = math.prod(self.grid)
        self._metadata, self._filters = metadata, filters
        self._length = math.prod(chunk) * dtype.itemsize
        self._unpacked: dict[int, np.ndarray] = {}
        self._entry = np.dtype([
            ("size", "<u4"), ("mask", "<u4"), ("corner", "<u8", len(shape) + 1), ("child", "<u8"),
        ])  # fmt: skip

    def find(self, root: int) -> None:
        """Read where the chunks are; raise Refused where one is missing, or a bomb."""
        source = self._metadata.source
        # What is not stored would be made up of the fill value, without a limit.
        least = self._entry.itemsize + (1 if self._filters else self._length)
        if self.count * least > source.size:
            raise Refused(f"{self.path} has shape {self.shape}, but far less is stored")
        self._entries_left, self._nodes_left = self.count, self.count // 4 + 64
        self._leaves: list[np.ndarray] = []
        self._visit(root, LEVELS)
        entries = np.concatenate([np.zeros(0, self._entry), *self._leaves])
        corners = entries["corner"][:, :-1]
        outside = (corners % np.array(self.chunk, "u8")) | (corners >= np.array(self.shape, "u8"))
        places = corners // np.array(self.chunk, "u8")
        if len(entries) != self.count or outside.any():
            raise Refused(f"{self.path} has shape {self.shape}, but other chunks are stored")
        numbers = np.ravel_multi_index(tuple(places.T.astype(np.int64)), self.grid)
        order = np.argsort(numbers)
        if (numbers[order] != np.arange(self.count)).any():
            raise Refused(f"{self.path} has shape {self.shape}, but not all of it is stored")
        self._entries = entries[order]
        self._refuse_bomb(int(entries["size"].astype(np.int64).sum()), source.size)

    def _refuse_bomb(self, stored: int, size: int) -> None:
        length = math.prod(self.shape) * self.dtype.itemsize
        if stored > size:
            raise Refused(f"{self.path} has chunks that share their bytes")
        if length > max(SMALL, RATIO * stored):
            raise Refused(
                f"{self.path} unpacks {stored} bytes to {length}, more than {RATIO} times as many",
                "write it again without a filter (`h5repack -f NONE OLD NEW`)",
            )

    def _visit(self, address: int, above: int) -> None:
        """Collect the entries of the leaves below the node at `address`."""
        metadata = self._metadata
        node = metadata.part(address, 24, b"TREE")
        kind, level, count = node.number(1), node.number(1), node.number(2)
        self._nodes_left -= 1
        # Nothing may be visited twice, or lead nowhere, until time or memory are gone.
        self._entries_left -= 0 if level else count
        too_many = self._entries_left < 0 or self._nodes_left < (count if level else 0)
        if kind != 1 or level >= above or too_many:
            raise Refused(f"the table of chunks of {self.path} is damaged")
        length = count * self._entry.itemsize
        content = metadata.source.read(metadata.place(address + 24, length), length)
        entries = np.frombuffer(content, self._entry)
        if level == 0:
            self._leaves.append(entries)
        else:
            for child in entries["child"].tolist():
                self._visit(child, level)

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`, put together from their chunks."""
        lows, highs = (first, *(0 for _ in self.shape[1:])), (end, *self.shape[1:])
        box = list(zip(lows, highs, self.chunk, strict=True))
        found = np.empty([high - low for low, high, _ in box], self.dtype)
        for place in itertools.product(*(range(low // c, -(-high // c)) for low, high, c in box)):
            there, here = [], []
            for p, (low, high, c) in zip(place, box, strict=True):
                start, stop = max(low, p * c), min(high, (p + 1) * c)
                there.append(slice(start - low, stop - low))
                here.append(slice(start - p * c, stop - p * c))
            number = int(np.ravel_multi_index(place, self.grid))
            found[tuple(there)] = self._values(number)[tuple(here)]
        return found

    def _values(self, number: int) -> np.ndarray:
        if number not in self._unpacked:
            while len(self._unpacked) >= max(1, KEPT_BYTES // self._length):
                del self._unpacked[next(iter(self._unpacked))]
            self._unpacked[number] = self._unpack(number)
        return self._unpacked[number]

    def _unpack(self, number: int) -> np.ndarray:
        entry = self._entries[number]
        size, mask, child = int(entry["size"]), int(entry["mask"]), int(entry["child"])
        content = bytes(self._metadata.source.read(self._metadata.place(child, size), size))
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
    if rank != len(shape) or rank < 1 or 0 in (*shape, *chunk) or chunk[-1] != dtype.itemsize:
        raise Refused(f"{header.path} has shape {shape}, but chunks of {chunk}")
    if length > CHUNK_BYTES:
        raise Refused(f"{header.path} has chunks of {length} bytes, over {CHUNK_BYTES}")
    found = Chunks(header.metadata, header.path, shape, chunk[:-1], dtype, filters)
    found.find(address)
    return found
