"""The commit record: what stands behind the HDF5 file and says that all of it is there.

    HDF5 file | b"disttrain-commit" | SHA-256 of the HDF5 file

It is the last thing written and covers every byte, so names, shapes, types and attributes too.
HDF5 does not look behind its own end. It is checked before anything else is looked at.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["commit", "committed", "read_committed"]

MARK = b"disttrain-commit"
LENGTH = len(MARK) + hashlib.sha256().digest_size


def commit(content: bytes) -> bytes:
    """Return `content` with its commit record."""
    return content + MARK + hashlib.sha256(content).digest()


def committed(written: bytes) -> memoryview | None:
    """Return the content that was committed, or None where `written` is not all of that."""
    content, record = memoryview(written)[:-LENGTH], written[-LENGTH:]
    return content if record == MARK + hashlib.sha256(content).digest() else None


def read_committed(path: Path) -> memoryview | None:
    """Return what was committed to the file at `path`, or None; a large file of another kind is
    not read for that. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LENGTH))
        if not file.read(LENGTH).startswith(MARK):
            return None
        file.seek(0)
        return committed(file.read())
