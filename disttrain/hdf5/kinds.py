"""Types and shapes as messages state them: the numbers that numpy has, and text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from disttrain.hdf5.source import Fields, Refused

__all__ = ["TEXT", "dtype_of", "length_of", "shape_of"]

# What an error calls the classes of types that are not read here, by number.
CLASSES = {
    2: "times", 4: "bit fields", 5: "opaque bytes", 6: "compound values", 7: "references",
    8: "values of an enumeration", 9: "values of varying length", 10: "arrays",
    11: "complex numbers",
}  # fmt: skip
FIXED, FLOAT, STRING, ENUMERATION, VARYING = 0, 1, 3, 8, 9
# numpy's name for text of varying length, which only attributes may hold.
TEXT = np.dtype(object)
# Exponent's place and length, mantissa's place and length, bias, by size: IEEE 754.
IEEE = {2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023)}
DIMENSIONS, LARGEST = 32, 1 << 59


def dtype_of(fields: Fields, path: str) -> np.dtype[Any]:
    """Return the dtype that a datatype message states, TEXT for text of varying length.

    Raises Refused for all but integers and IEEE floats of up to 8 bytes, truth values and text.
    """
    head = fields.number(1)
    kind, bits, size = head & 15, fields.number(3), fields.number(4)
    order = ">" if bits & 1 else "<"
    if kind == FIXED and size in (1, 2, 4, 8) and fields.take(4) == bytes([0, 0, 8 * size, 0]):
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    if kind == FLOAT and size in IEEE and _is_ieee(fields, bits, size):
        return np.dtype(f"{order}f{size}")
    if kind == STRING and 0 < size < 1 << 31:
        return np.dtype(f"S{size}")
    if kind == VARYING and bits & 15 == 1:
        return TEXT
    if kind == ENUMERATION and size == 1 and _is_truth(fields, bits & 0xFFFF, head >> 4):
        return np.dtype(bool)
    what = CLASSES.get(kind, "something that numpy has no type for")
    raise Refused(f"{path} does not hold numbers but {what}")


def _is_ieee(fields: Fields, bits: int, size: int) -> bool:
    offset, precision = fields.number(2), fields.number(2)
    found = (*fields.take(4), fields.number(4))
    sign, implied, vax = bits >> 8 & 255, bits >> 4 & 3, bits & 0x40
    whole = (offset, precision, sign, implied, vax) == (0, 8 * size, 8 * size - 1, 2, 0)
    return whole and found == IEEE[size]


def _is_truth(fields: Fields, members: int, version: int) -> bool:
    """Return True for what h5py makes of truth values: FALSE = 0 and TRUE = 1 in a byte."""
    fields.take(12)
    if version >= 3:
        names = fields.take(11) == b"FALSE\0TRUE\0"
    else:
        names = fields.take(16) == b"FALSE\0\0\0TRUE\0\0\0\0"
    return members == 2 and names and fields.take(2) == b"\0\1"


def shape_of(fields: Fields, path: str) -> tuple[int, ...] | None:
    """Return the shape that a dataspace message states; None where it states no values at all."""
    version, rank = fields.number(1), fields.number(1)
    fields.take(1)
    if version == 1:
        fields.take(5)
    elif version != 2 or fields.number(1) == 2:
        return None
    if rank > DIMENSIONS:
        raise Refused(f"{path} has {rank} dimensions")
    shape = tuple(fields.number(8) for _ in range(rank))
    # Also of an array without values: numpy counts as if each 0 was a 1.
    if math.prod(max(1, n) for n in shape) >= LARGEST:
        raise Refused(f"{path} has shape {shape}")
    return shape


def length_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the bytes that values of this shape and type take."""
    return math.prod(shape) * dtype.itemsize
