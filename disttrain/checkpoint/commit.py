"""The commit record behind the HDF5 file: it proves that the file is whole, and lists its tensors.

    HDF5 file | table (JSON) | length of the table (8 bytes, little-endian)
              | b"disttrain-commit" | SHA-256 of the table and its length

    bytes         length of the HDF5 file
    data sets     name → first byte, number of bytes, SHA-256
    types         name → dtype ("<f4", or "|S31" for a text of 31 bytes), shape
    attributes    group ("" for the root) → its attributes
    structure     SHA-256 of all bytes that lie in no data set

The record is written last and covers every byte, so it shows which tensor is damaged. A checkpoint
is read by its record alone, without an HDF5 library. HDF5 ignores what is behind its own end.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from disttrain.checkpoint import before

__all__ = [
    "END",
    "STRUCTURE",
    "Attributes",
    "Content",
    "Part",
    "Record",
    "commit",
    "has_record",
    "read_record",
    "signed",
]

MARK = b"disttrain-commit"
END = len(MARK) + hashlib.sha256().digest_size
STRUCTURE = "the structure of the file"
# Bytes of the table, and of the HDF5 structure, for tens of thousands of data sets.
MOST, STRUCTURE_BYTES = 8 << 20, 32 << 20
DTYPE = re.compile(r"[<>]f[248]|\|S[1-9]\d{0,9}")
DIMENSIONS = 32
Attributes = dict[str, dict[str, Any]]


class Part(NamedTuple):
    """A data set: where its bytes lie, their SHA-256, and what they are."""

    first: int
    length: int
    sha: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


class Content(NamedTuple):
    """What was read by a record: the data sets, their attributes, and what of it is damaged."""

    arrays: dict[str, np.ndarray]
    attributes: Attributes
    damaged: list[str]


def commit(
    size: int, between: Iterable[bytes], parts: Mapping[str, Part], attributes: Attributes
) -> bytes:
    """Return the commit record of an HDF5 file of `size` bytes with the data sets `parts`.

    `between` are the bytes that lie in no data set, in their order.
    """
    structure = hashlib.sha256()
    for piece in between:
        structure.update(piece)
    table = {
        "bytes": size,
        "structure": structure.hexdigest(),
        "data sets": {name: [part.first, part.length, part.sha] for name, part in parts.items()},
        "types": {name: [part.dtype, part.shape] for name, part in parts.items()},
        "attributes": attributes,
    }
    return signed(json.dumps(table).encode())


def signed(text: bytes) -> bytes:
    """Return the record that holds a table."""
    record = text + len(text).to_bytes(8, "little")
    return record + MARK + hashlib.sha256(record).digest()


def has_record(end: bytes) -> bool:
    """Return True where the last bytes of a file look like those of a commit record."""
    return end[-END:].startswith(MARK)


@dataclass(frozen=True)
class Record:
    """A record that is whole; its parts lie inside the file and do not overlap.

    `attributes` is None in the first form of the record, which has no types either (before.py).
    """

    size: int
    structure: str
    parts: Mapping[str, Part]
    attributes: Attributes | None

    def read(self, file: BinaryIO) -> Content:
        """Return what the file holds, compared with the record. Raises OSError, ValueError."""
        raw: dict[str, np.ndarray] = {}
        damaged, between, done = [], bytearray(), 0
        for name, part in sorted(self.parts.items(), key=lambda item: item[1]):
            between += _bytes(file, done, part.first - done)
            content = _bytes(file, part.first, part.length)
            raw[name], done = np.frombuffer(content, np.uint8), part.first + part.length
            if hashlib.sha256(content).hexdigest() != part.sha:
                damaged.append(name)
        between += _bytes(file, done, self.size - done)
        if hashlib.sha256(between).hexdigest() != self.structure:
            damaged.append(STRUCTURE)
        if damaged:
            return Content({}, {}, damaged)
        parts, attributes = self.parts, self.attributes
        if attributes is None:
            types, attributes = before.facts_in(bytes(between), parts)
            parts = _typed(parts, types)
        return Content(
            {n: raw[n].view(p.dtype).reshape(p.shape) for n, p in parts.items()}, attributes, []
        )


def read_record(file: BinaryIO) -> Record | None:
    """Return the record of a file; None where there is none, or not a whole one. Raises OSError.

    Raises ValueError for a whole record that states something impossible: its SHA-256 finds damage,
    but anybody can compute it.
    """
    size = file.seek(0, 2)
    end = _bytes(file, max(0, size - END - 8), min(size, END + 8))
    if len(end) < END + 8 or not has_record(bytes(end)):
        return None
    length = int.from_bytes(end[:8], "little")
    if length > min(MOST, size - END - 8):
        return None
    record = _bytes(file, size - END - 8 - length, length + 8)
    if end[8:] != MARK + hashlib.sha256(record).digest():
        return None
    try:
        table = json.loads(record[:-8])
        return _checked(table) if table["bytes"] == size - END - len(record) else None
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its record has an unknown form: {error!s:.40}") from None


def _checked(table: dict[str, Any]) -> Record:
    """Return the record of a table; raise ValueError for parts outside the file or overlapping."""
    size = table["bytes"]
    parts = {name: Part(*place) for name, place in table["data sets"].items()}
    if not all(name.isprintable() for name in parts):
        raise ValueError("its record has names with characters that can't be printed")
    numbers = [n for part in parts.values() for n in (part.first, part.length)]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("its record has offsets or lengths that are not whole numbers")
    done = between = 0
    for part in sorted(parts.values()):
        if part.first < done:
            raise ValueError("its data sets overlap")
        between, done = between + part.first - done, part.first + part.length
    if done > size:
        raise ValueError(f"it ends at byte {size}, but bytes up to {done} are named")
    if between + size - done > STRUCTURE_BYTES:
        raise ValueError(f"its structure takes more than {STRUCTURE_BYTES} bytes")
    attributes = table.get("attributes")
    return Record(
        size,
        table["structure"],
        parts if attributes is None else _typed(parts, table["types"]),
        None if attributes is None else {name: dict(own) for name, own in attributes.items()},
    )


def _typed(parts: Mapping[str, Part], types: Mapping[str, Any]) -> dict[str, Part]:
    """Return the parts with their types; raise ValueError where these do not fit their lengths."""
    found = {}
    for name, part in parts.items():
        dtype, shape = types[name]
        counts = len(shape) <= DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
        if not counts or not DTYPE.fullmatch(dtype):
            raise ValueError(f"{name:.40} is of type {dtype!s:.40} and shape {shape!s:.40}")
        if math.prod(shape) * np.dtype(dtype).itemsize != part.length:
            raise ValueError(
                f"{name:.40} has shape {shape!s:.80} of {dtype}, not {part.length} bytes"
            )
        found[name] = part._replace(dtype=dtype, shape=tuple(shape))
    return found


def _bytes(file: BinaryIO, first: int, count: int) -> bytearray:
    """Return `count` bytes from `first` on, as a bytearray. Raises OSError."""
    content = bytearray(count)
    file.seek(first)
    if file.readinto(content) != count:  # type: ignore[attr-defined]
        raise OSError(None, "it was cut off while it was read")
    return content
