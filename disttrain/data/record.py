"""The record behind a data file: a digest of each of its blocks, so that damage is found.

    HDF5 file | SHA-256 of each block of 256 KiB | b"disttrain-blocks" | bytes of HDF5 | SHA-256

The last digest is of the table, the mark and the length. HDF5 does not look behind its own end.
A block is compared when it is first read: nothing else needs to be read before training starts,
however large the file, and no byte is used that was not compared. It guards against damage, not
against malice: whoever changes a file can also write its record.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from disttrain.hdf5 import OpenFile, Refused, Source

__all__ = ["add_record", "fingerprint", "open_recorded", "read_all"]

MARK = b"disttrain-blocks"
BLOCK = 256 << 10
DIGEST = hashlib.sha256().digest_size
END = len(MARK) + 8 + DIGEST


def add_record(path: Path) -> None:
    """Write the record of the HDF5 file at `path` behind it. Raises OSError."""
    with path.open("r+b") as file:
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
        raise Refused("its record is of a file of another length: it is torn")
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
    """The HDF5 part of a data file; a block is compared with its digest when it is first read."""

    def __init__(self, file: OpenFile, length: int, table: bytes) -> None:
        self._file, self.size, self._table = file, length, table
        self._compared = np.zeros(len(table) // DIGEST, bool)

    def _read(self, place: int, count: int) -> bytes | memoryview:
        first, end = place // BLOCK, -(-(place + count) // BLOCK)
        if self._compared[first:end].all():
            return self._file.read(place, count)
        low, high = first * BLOCK, min(end * BLOCK, self.size)
        content = memoryview(self._file.read(low, high - low))
        for number in range(first, end):
            block = content[number * BLOCK - low : (number + 1) * BLOCK - low]
            wanted = self._table[number * DIGEST : (number + 1) * DIGEST]
            if hashlib.sha256(block).digest() != wanted:
                last = min((number + 1) * BLOCK, self.size)
                raise Refused(
                    f"bytes {number * BLOCK} to {last} were damaged or changed since it was written"
                )
            self._compared[number] = True
        return content[place - low : place - low + count]
