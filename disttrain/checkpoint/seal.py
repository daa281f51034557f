"""The commit record: one SHA-256 over names, shapes, types, attributes and bytes of a file."""

from __future__ import annotations

import hashlib
from typing import Any

import h5py
import numpy as np

__all__ = ["COMMIT", "seal"]

COMMIT = "commit"


def seal(file: h5py.File) -> str:
    """Return the digest that the commit record of `file` must hold."""
    sha = hashlib.sha256()

    def add(*parts: Any) -> None:
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode()
            sha.update(len(raw).to_bytes(8, "little") + raw)

    def visit(name: str, item: Any) -> None:
        add(name, type(item).__name__)
        for key in sorted(k for k in item.attrs if not (name == "/" and k == COMMIT)):
            add(key, repr(_plain(item.attrs[key])))
        if isinstance(item, h5py.Dataset):
            add(item.dtype.str, item.shape, np.ascontiguousarray(item[()]).tobytes())

    visit("/", file)
    for name in sorted(_names(file)):
        visit(name, file[name])
    return sha.hexdigest()


def _names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
