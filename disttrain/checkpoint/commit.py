"""The commit record: what stands behind the HDF5 file and says that all of it is there.

    HDF5 file | table (JSON) | length of the table (8 bytes, little-endian)
              | b"disttrain-commit" | SHA-256 of the table and its length

The table holds the length of the HDF5 file, place and SHA-256 of every data set in it, and the
SHA-256 of all bytes between them. So the record, which is written last, covers every byte, names,
shapes, types and attributes too, and says which tensor is damaged. HDF5 does not look behind its
own end. The record is checked before anything else is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["END", "STRUCTURE", "commit", "content_of", "damage", "has_record", "read_marked"]

MARK = b"disttrain-commit"
END = len(MARK) + hashlib.sha256().digest_size
STRUCTURE = "the structure of the file"
# Tens of thousands of data sets.
MOST = 4 << 20
Places = Mapping[str, tuple[int, int]]
"""Name of a data set → its first byte in the file and how many there are."""


def commit(content: bytes, places: Places = MappingProxyType({})) -> bytes:
    """Return `content`, an HDF5 file with data sets at `places`, with its commit record."""
    table = {
        "bytes": len(content),
        "structure": _between(content, places.values()),
        "data sets": {
            name: [first, length, _sha(memoryview(content)[first : first + length])]
            for name, (first, length) in places.items()
        },
    }
    text = json.dumps(table).encode()
    record = text + len(text).to_bytes(8, "little")
    return b"".join([content, record, MARK, hashlib.sha256(record).digest()])


def damage(written: bytes) -> list[str] | None:
    """Return the data sets in `written` that are not what was committed, and perhaps STRUCTURE.

    An empty list means that every byte is as it was committed; None that the record itself is
    missing or damaged, or that the length is not the committed one: of such a file nothing is sure.
    """
    table = _table(written)
    if table is None:
        return None
    view = memoryview(written)[: table["bytes"]]
    sets = {name: (first, length, sha) for name, (first, length, sha) in table["data sets"].items()}
    found = [n for n, (first, length, sha) in sets.items() if _sha(view[first:][:length]) != sha]
    between = _between(view, [(first, length) for first, length, _ in sets.values()])
    return found if between == table["structure"] else [*found, STRUCTURE]


def content_of(written: bytes) -> memoryview:
    """Return the HDF5 file of a whole checkpoint."""
    table = _table(written)
    return memoryview(written)[: table["bytes"] if table else 0]


def has_record(end: bytes) -> bool:
    """Return True where the last bytes of a file look like those of a commit record."""
    return end[-END:].startswith(MARK)


def read_marked(path: Path) -> bytes | None:
    """Return what the file at `path` holds, or None where it does not end with a commit record.

    A large file of another kind is not read for that. Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END))
        if not has_record(file.read(END)):
            return None
        file.seek(0)
        return file.read()


def _table(written: bytes) -> dict[str, Any] | None:
    """Return the table of a record that is whole, stands where it says and is of the right form.

    Anybody can write a right digest behind anything.
    """
    if not has_record(written):
        return None
    length = int.from_bytes(written[-END - 8 : -END], "little")
    if length > min(MOST, len(written)):
        return None
    record = written[max(0, len(written) - END - 8 - length) : -END]
    if written[-END:] != MARK + hashlib.sha256(record).digest():
        return None
    try:
        table = json.loads(record[:-8])
        places = [(first, count) for first, count, _ in table["data sets"].values()]
        if any(type(number) is not int for place in places for number in place):
            return None
        whole = table["bytes"] + len(record) + END == len(written)
        return table if whole and _apart(places, table["bytes"]) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _apart(places: Iterable[tuple[int, int]], size: int) -> bool:
    """Return True where no two places overlap, or go beyond `size`."""
    done = 0
    for first, length in sorted(places):
        if first < done or length < 0:
            return False
        done = first + length
    return done <= size


def _between(content: bytes | memoryview, places: Iterable[tuple[int, int]]) -> str:
    """Return SHA-256 over what of `content` is in none of `places`."""
    sha, done, view = hashlib.sha256(), 0, memoryview(content)
    for first, length in sorted(places):
        sha.update(view[done:first])
        done = first + length
    sha.update(view[done:])
    return sha.hexdigest()


def _sha(part: memoryview) -> str:
    return hashlib.sha256(part).hexdigest()
