"""Where an HDF5 file begins."""

from __future__ import annotations

from disttrain.hdf5.group import Group
from disttrain.hdf5.header import Header
from disttrain.hdf5.source import UNDEFINED, Fields, Metadata, Refused, Source

__all__ = ["SIGNATURE", "root_of"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LENGTH = 112
# Other programs (MATLAB) put up to so many bytes of their own in front: 0, 512, 1024, 2048, ...
FRONT = 1 << 16


def root_of(source: Source) -> Group:
    """Return the root group of the HDF5 file in `source`; raise Refused where there is none."""
    base = 0
    while bytes(source.read(base, min(8, max(0, source.size - base)))) != SIGNATURE:
        base = max(512, 2 * base)
        if base >= min(source.size, FRONT):
            raise Refused("it is not an HDF5 file")
    fields = Fields(bytes(source.read(base + 8, min(LENGTH, source.size - base - 8))))
    version = fields.number(1)
    if version in (0, 1):
        end, address = _old(fields, version)
    elif version in (2, 3):
        end, address = _new(fields)
    else:
        raise Refused(f"its HDF5 superblock has version {version}, and 0 to 3 are known")
    if end > source.size:
        raise Refused(f"it is cut off: {source.size} bytes of {end}")
    return Group(Header(Metadata(source, base), address, "/"))


def _old(fields: Fields, version: int) -> tuple[int, int]:
    fields.take(4)
    _check_widths(fields)
    fields.take(1 + 2 + 2 + 4 + 4 * version)
    fields.take(8 + 8)
    end, driver = fields.number(8), fields.number(8)
    if driver != UNDEFINED:
        raise Refused("it is one of several files that belong together")
    fields.take(8)
    return end, fields.number(8)


def _new(fields: Fields) -> tuple[int, int]:
    _check_widths(fields)
    if fields.number(1) & 1:
        raise Refused("the program that writes it has not closed it")
    fields.take(8 + 8)
    return fields.number(8), fields.number(8)


def _check_widths(fields: Fields) -> None:
    if fields.take(2) != b"\x08\x08":
        raise Refused("its addresses are not of 8 bytes")
