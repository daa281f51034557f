"""Attributes: small values that stand in the header of a group or an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from disttrain.hdf5.header import Header
from disttrain.hdf5.kinds import TEXT, dtype_of, length_of, shape_of
from disttrain.hdf5.source import UNDEFINED, Fields, Metadata, Refused

__all__ = ["attributes_of", "value_of"]

ATTRIBUTE, MANY = 0x0C, 0x15
COUNT = 1024
# HDF5's own limit for what stands in a header.
LENGTH = 1 << 16


def attributes_of(header: Header) -> dict[str, bytes]:
    """Return the attributes of an object by name, their values not read yet (`value_of`)."""
    for fields in header.all(MANY):
        flags = fields.take(2)[1]
        fields.take(2 if flags & 1 else 0)
        if fields.number(8) != UNDEFINED:
            raise Refused(
                f"{header.path} has attributes in a form that is not read here",
                "give it fewer than nine",
            )
    messages = header.all(ATTRIBUTE)
    if len(messages) > COUNT:
        raise Refused(f"{header.path} has more than {COUNT} attributes")
    return dict(_named(message, header.path) for message in messages)


def _named(message: Fields, path: str) -> tuple[str, bytes]:
    version, flags = message.number(1), message.number(1)
    if version not in (1, 2, 3):
        raise Refused(f"an attribute of {path} has a version that is not known")
    lengths = [message.number(2) for _ in range(3)]
    message.take(1 if version == 3 else 0)
    parts = [message.padded(n) if version == 1 else message.take(n) for n in lengths]
    name = parts[0].rstrip(b"\0").decode("utf-8", "replace")
    content = b"".join(len(part).to_bytes(4, "little") + part for part in parts[1:])
    shared = version > 1 and flags
    return name, b"" if shared else content + message.take(message.left)


def value_of(content: bytes, metadata: Metadata, where: str) -> Any:
    """Return an attribute's value: a number, a text, or a list of them; None where it has none."""
    attribute = Fields(content)
    dtype = dtype_of(Fields(attribute.take(attribute.number(4))), where)
    shape = shape_of(Fields(attribute.take(attribute.number(4))), where)
    if shape is None:
        return None
    if len(shape) > 1 or length_of(shape, dtype) > LENGTH:
        raise Refused(f"{where} has shape {shape}")
    count = shape[0] if shape else 1
    if dtype == TEXT:
        values: list[Any] = [_text(_varying(attribute, metadata, where)) for _ in range(count)]
    else:
        values = np.frombuffer(attribute.take(length_of(shape, dtype)), dtype, count).tolist()
        values = [_text(v) if isinstance(v, bytes) else v for v in values]
    return values if shape else values[0]


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _varying(attribute: Fields, metadata: Metadata, where: str) -> bytes:
    length, address, index = attribute.number(4), attribute.number(8), attribute.number(4)
    if length == 0:
        return b""
    if address not in metadata.heaps:
        metadata.heaps[address] = _heap(metadata, address)
    text = metadata.heaps[address].get(index, b"")
    if len(text) < length:
        raise Refused(f"{where} holds a text that is not there")
    return text[:length]


def _heap(metadata: Metadata, address: int) -> dict[int, bytes]:
    """Return the texts of one collection of the global heap by number."""
    start = metadata.fields(address, 16, b"GCOL")
    start.take(4)
    fields = metadata.fields(address + 16, max(0, start.number(8) - 16))
    found = {}
    while fields.left >= 16:
        index, _, length = fields.number(2), fields.take(6), fields.number(8)
        if index == 0:
            break
        found[index] = fields.padded(length)
    return found
