"""Commit records that are right, behind anything: everybody can write one."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import h5py

from disttrain.checkpoint.commit import END, signed


def parted(written: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the HDF5 part of a checkpoint, and the table of its record."""
    length = int.from_bytes(written[-END - 8 : -END], "little")
    table: dict[str, Any] = json.loads(written[-END - 8 - length : -END - 8])
    return written[: table["bytes"]], table


def anew(content: bytes, table: Mapping[str, Any]) -> bytes:
    """Return `content` with `table` behind it, in which all digests are right."""
    between, done, sets = hashlib.sha256(), 0, {}
    for name, (first, length, *_) in sorted(table["data sets"].items(), key=lambda i: i[1][:2]):
        between.update(content[done:first])
        sets[name] = [first, length, hashlib.sha256(content[first : first + length]).hexdigest()]
        done = first + length
    between.update(content[done:])
    right = {"bytes": len(content), "structure": between.hexdigest(), "data sets": sets}
    return content + signed(json.dumps({**table, **right}).encode())


def first_form(content: bytes) -> bytes:
    """Return an HDF5 file with the record that disttrain wrote first: places without types."""
    sets = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
            sets[name] = [item.id.get_offset(), item.id.get_storage_size()]

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(visit)
    return anew(content, {"data sets": sets})
