"""The record behind a data file of ours: where its arrays lie, and a digest of each of its blocks.

    HDF5 file | layout (JSON) | length of the layout | b"disttrain-layout"
              | SHA-256 of each block of 256 KiB of all that is before | b"disttrain-blocks"
              | bytes of all that is before the digests | SHA-256

Lengths are of 8 bytes, little-endian. The last digest is of the block digests, the mark and the
length. The layout holds `arrays`, path → dtype, shape, first byte, and `texts`, name → JSON: the
names of the `classes`, the `preparation`. HDF5 ignores what is behind its own end; rows are read
without it, from the bytes that the layout states.

A block is compared whenever it is read: with its SHA-256 the first time, then with the CRC-32 that
it had then, which takes less than half of the time. So a file of any size opens at once, and every
byte is compared before it is used. This finds damage, not malice: whoever changes a file can also
write its record.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disttrain.data.format import CLASSES
from disttrain.data.stored import Array, OpenFile, Plain, Refused, Source, numbers

__all__ = [
    "Layout",
    "add_record",
    "fingerprint",
    "layout_of",
    "names_in",
    "open_recorded",
    "read_all",
]

MARK, LAYOUT = b"disttrain-blocks", b"disttrain-layout"
BLOCK = 256 << 10
DIGEST = hashlib.sha256().digest_size
END = len(MARK) + 8 + DIGEST


def add_record(path: Path, arrays: Mapping[str, list[Any]], texts: Mapping[str, str]) -> None:
    """Write the record of the HDF5 file at `path` behind it; `arrays` and `texts` as in the layout.

    Raises OSError.
    """
    layout = json.dumps({"arrays": arrays, "texts": texts}).encode()
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(layout + len(layout).to_bytes(8, "little") + LAYOUT)
        file.seek(0)
        table = bytearray()
        while block := file.read(BLOCK):
            table += hashlib.sha256(block).digest()
        listed = table + MARK + file.tell().to_bytes(8, "little")
        file.write(listed + hashlib.sha256(listed).digest())
        file.flush()
        os.fsync(file.fileno())


def open_recorded(path: str) -> Source:
    """Open a data file: with its record, or as it is where it has none.

    Raises Refused where there is a record that is damaged, OSError where the file can't be opened.
    """
    file = OpenFile(path)
    if file.size < END:
        return file
    end = bytes(file.read(file.size - END, END))
    if not end.startswith(MARK):
        return file
    length = int.from_bytes(end[len(MARK) : len(MARK) + 8], "little")
    blocks = -(-length // BLOCK)
    if length + blocks * DIGEST + END != file.size:
        raise Refused("its record is of a file of another length: the file is incomplete")
    table = bytes(file.read(length, blocks * DIGEST))
    if hashlib.sha256(table + end[:-DIGEST]).digest() != end[-DIGEST:]:
        raise Refused("its record is damaged")
    return Recorded(file, length, table)


def fingerprint(path: str) -> str:
    """Return a digest of all that a data file holds, or "" where it has no record."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - END))
        end = file.read(END)
    return end[-DIGEST:].hex() if end.startswith(MARK) else ""


def read_all(path: str) -> bool:
    """Read every block of a data file; return whether it has a record that they were compared with.

    Raises Refused for the first block that is not what was written, OSError.
    """
    file = open_recorded(path)
    for place in range(0, file.size, BLOCK) if isinstance(file, Recorded) else ():
        file.read(place, min(BLOCK, file.size - place))
    return isinstance(file, Recorded)


class Recorded(Source):
    """The bytes of a data file that its digests cover; each block is compared when it is read."""

    def __init__(self, file: OpenFile, length: int, table: bytes) -> None:
        self._file, self.size, self._table = file, length, table
        self._sums: dict[int, int] = {}

    def _read(self, place: int, count: int) -> memoryview:
        first, end = place // BLOCK, -(-(place + count) // BLOCK)
        low, high = first * BLOCK, min(end * BLOCK, self.size)
        content = memoryview(self._file.read(low, high - low))
        for number in range(first, end):
            block = content[number * BLOCK - low : (number + 1) * BLOCK - low]
            if not self._is_as_written(number, block):
                last = min((number + 1) * BLOCK, self.size)
                raise Refused(
                    f"bytes {number * BLOCK} to {last} were damaged or changed since it was written"
                )
        return content[place - low : place - low + count]

    def _is_as_written(self, number: int, block: memoryview) -> bool:
        if number in self._sums:
            return zlib.crc32(block) == self._sums[number]
        wanted = self._table[number * DIGEST : (number + 1) * DIGEST]
        if hashlib.sha256(block).digest() != wanted:
            return False
        self._sums[number] = zlib.crc32(block)
        return True


class Layout:
    """What a data file of ours holds: its arrays by path, the names of its classes, and texts."""

    ours = True

    def __init__(self, source: Source, table: dict[str, Any]) -> None:
        places = sorted((place, name) for name, (_, _, place) in table["arrays"].items())
        self._arrays: dict[str, Array] = {}
        done = 0
        for place, name in places:
            dtype, shape, _ = table["arrays"][name]
            if any(type(n) is not int or n < 0 for n in (*shape, place)) or place < done:
                raise ValueError(f"{name:.40} has shape {shape!s:.40} at byte {place!s:.40}")
            array = Plain(name, tuple(shape), numbers(dtype), source, place)
            self._arrays[name], done = array, place + array.length
        self._texts = table["texts"]
        if not all(isinstance(text, str) for text in self._texts.values()):
            raise ValueError("its texts can't be read")
        self.classes = names_in(self.text(CLASSES))

    def text(self, name: str) -> str:
        """Return the text of that name, "" where there is none."""
        return str(self._texts.get(name, ""))

    def has(self, split: str) -> bool:
        """Return True where there is a group `split`."""
        return any(name.startswith(f"{split}/") for name in self._arrays)

    def get(self, path: str) -> Array | None:
        """Return the array at `path`, None where there is none."""
        return self._arrays.get(path)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of classes in a text; raise ValueError where it holds something else."""
    names = json.loads(text or "[]")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its classes are not a list of names")
    return tuple(names)


def layout_of(source: Source) -> Layout | None:
    """Return the layout of a data file; None where it has none. Raises Refused."""
    end = 8 + len(LAYOUT)
    if not isinstance(source, Recorded) or source.size < end:
        return None
    last = bytes(source.read(source.size - end, end))
    if not last.endswith(LAYOUT):
        return None
    length = int.from_bytes(last[:8], "little")
    text = source.read(source.size - end - length, length)
    try:
        return Layout(source, json.loads(bytes(text)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"its layout has an unknown form: {error}") from None
