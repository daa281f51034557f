"""The commit record: what stands behind the HDF5 file and says that all of it is there.

    HDF5 file | b"disttrain-commit" | SHA-256 of the HDF5 file

It is the last thing written and covers every byte, so names, shapes, types and attributes too.
HDF5 does not look behind its own end. It is checked before HDF5 sees the file: the library crashes,
or runs for ever, on some damaged ones.
"""

from __future__ import annotations

import hashlib

__all__ = ["commit", "committed"]

MARK = b"disttrain-commit"
LENGTH = len(MARK) + hashlib.sha256().digest_size


def commit(content: bytes) -> bytes:
    """Return `content` with its commit record."""
    return content + MARK + hashlib.sha256(content).digest()


def committed(written: bytes) -> bytes | None:
    """Return the content that was committed, or None where `written` is not all of that."""
    content, record = written[:-LENGTH], written[-LENGTH:]
    return content if record == MARK + hashlib.sha256(content).digest() else None
