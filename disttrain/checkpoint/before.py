"""The first form of the commit record: it says where data sets lie, but not their types and shapes.

These and the attributes stand in the HDF5 part, which was always written in the same form. So they
are found by the bytes around them; no address in the file is followed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["facts_in"]

FLOATS = {b"\x11\x20\x1f\0\4\0\0\0": "<f4", b"\x11\x20\x3f\0\x08\0\0\0": "<f8"}
# A data set's header: its dimensions and their limits, its type, the fill value, and its place.
MESSAGE = rb"..[\0\x01]\0\0\0"
HEADER = re.compile(
    rb"\x01\0" + MESSAGE + rb"\x01.[\0\x01]\0{5}((?:.{16}){0,8}?)"
    rb"\x03\0" + MESSAGE + rb"(.{8})(?:.{16})?\x05\0" + MESSAGE + rb".{8}$",
    re.DOTALL,
)  # fmt: skip
PLACE = re.compile(rb"\x08\0\x18\0[\0\x01]\0\0\0\x03\x01(.{8})(.{8})", re.DOTALL)
LONGEST = 256
WHOLE = rb"\x10\x08\0\0\x08\0\0\0\0\0\x40\0\0\0\0\0" + rb"\x01\0{7}(.{8})"
REAL = rb"\x11\x20\x3f\0\x08\0\0\0\0\0\x40\0\x34\x0b\0\x34\xff\x03\0{6}" + rb"\x01\0{7}(.{8})"
TEXTS = (
    rb"disttrain-checkpoint\0{4}\x02\0{7}\x40\0{7}([0-9a-f]{64})"
    rb"\x03\0{7}.\0{7}([a-z-]{1,32})\0"
)

Types = dict[str, tuple[str, tuple[int, ...]]]
Attributes = dict[str, dict[str, Any]]


def facts_in(structure: bytes, parts: Mapping[str, Any]) -> tuple[Types, Attributes]:
    """Return dtype and shape of all `parts`, and the attributes of the groups that have some.

    `structure` is all of the HDF5 part that is in no data set. Raises ValueError where something
    is not found.
    """
    names = {(part.first, part.length): name for name, part in parts.items()}
    types: Types = {}
    for place in PLACE.finditer(structure):
        name = names.pop(struct.unpack("<QQ", place[1] + place[2]), None)
        if name is None:
            continue
        header = HEADER.search(structure, max(0, place.start() - LONGEST), place.start())
        if header:
            sizes = struct.unpack(f"<{len(header[1]) // 8}Q", header[1])
            text = f"|S{int.from_bytes(header[2][4:], 'little')}"
            types[name] = FLOATS.get(header[2], text), sizes[: len(sizes) // 2]
    if set(types) != set(parts):
        raise ValueError("its data sets are not as disttrain wrote them")
    (version,), (step,) = (
        _number(structure, "<q", n + WHOLE) for n in (rb"version\0", rb"step\0{4}")
    )
    (epoch,), (divisor,) = (
        _number(structure, "<d", n + REAL) for n in (rb"epoch\0{3}", rb"divisor\0")
    )
    digest, kind = (text.decode() for text in _found(TEXTS, structure))
    root = {"format": "disttrain-checkpoint", "version": version, "step": step, "epoch": epoch}
    return types, {
        "": root | {"digest": digest},
        "normalization": {"kind": kind, "divisor": divisor},
    }


def _number(structure: bytes, form: str, pattern: bytes) -> tuple[Any, ...]:
    return struct.unpack(form, _found(pattern, structure)[0])


def _found(pattern: bytes, structure: bytes) -> tuple[bytes, ...]:
    found = re.search(pattern, structure, re.DOTALL)
    if found is None:
        raise ValueError("its attributes are not as disttrain wrote them")
    return found.groups()
