"""Arrays: their shape, their type, and their rows, read by place and size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from disttrain.hdf5.chunks import Chunks, chunks_of
from disttrain.hdf5.filters import filters_of
from disttrain.hdf5.header import Header
from disttrain.hdf5.kinds import TEXT, dtype_of, length_of, shape_of
from disttrain.hdf5.source import UNDEFINED, Fields, Memory, Refused, Source

__all__ = ["DATASPACE", "Array", "array_of"]

DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = 0, 1, 2, 3
PLAIN = "write it again, contiguous and unfiltered (`h5repack -l CONTI -f NONE OLD NEW`)"


class Array(ABC):
    """An array of a file, of `shape` and `dtype`; all of its `length` bytes are there.

    `plain` is True where they lie in one run, as they are.
    """

    plain = True

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self.length = length_of(shape, dtype)

    @abstractmethod
    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`, an array that may be read-only."""

    def all(self) -> np.ndarray:
        """Return all values, of an array without rows too; the result may be read-only."""
        return self.rows(0, self.shape[0])


class Run(Array):
    """An array in one run of bytes."""

    def __init__(self, header: Header, shape: tuple[int, ...], dtype: np.dtype[Any],
                 source: Source, place: int) -> None:  # fmt: skip
        super().__init__(header.path, shape, dtype)
        self._source, self._place = source, place

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`."""
        row = self.length // self.shape[0] if self.shape[0] else 0
        content = self._source.read(self._place + first * row, (end - first) * row)
        return np.frombuffer(content, self.dtype).reshape(end - first, *self.shape[1:])

    def all(self) -> np.ndarray:
        """Return all values."""
        content = self._source.read(self._place, self.length)
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class Pieces(Array):
    """An array in chunks."""

    plain = False

    def __init__(self, path: str, shape: tuple[int, ...], chunks: Chunks) -> None:
        super().__init__(path, shape, chunks.dtype)
        self._chunks = chunks

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`."""
        return self._chunks.rows(first, end)


def array_of(header: Header) -> Array:
    """Return the array with this header; raise Refused where it is not one that is read here."""
    path = header.path
    if header.has(EXTERNAL_FILES):
        raise Refused(f"{path} keeps its values in another file", "put the values there")
    dtype = dtype_of(header.one(DATATYPE, "datatype"), path)
    if dtype == TEXT:
        raise Refused(f"{path} does not hold numbers but texts of varying length")
    shape = shape_of(header.one(DATASPACE, "dataspace"), path)
    if shape is None:
        raise Refused(f"{path} holds no values")
    layout = header.one(LAYOUT, "layout")
    version, kind = layout.number(1), layout.number(1)
    if version in (3, 4) and kind == VIRTUAL:
        raise Refused(f"{path} is made of arrays of other places, which are not read here", PLAIN)
    if version == 3 and kind == CHUNKED:
        return _chunked(header, layout, shape, dtype)
    if version not in (3, 4) or kind not in (COMPACT, CONTIGUOUS) or header.has(FILTERS):
        raise Refused(f"{path} is laid out in a form that is not read here", PLAIN)
    return _run(header, layout, kind, shape, dtype)


def _run(
    header: Header, layout: Fields, kind: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Run:
    source: Source = header.metadata.source
    address = layout.number(8) if kind == CONTIGUOUS else 0
    stored = layout.number(8 if kind == CONTIGUOUS else 2)
    expected = length_of(shape, dtype)
    if stored != expected or (address == UNDEFINED and expected):
        missing = "none" if address == UNDEFINED else f"{stored}"
        raise Refused(
            f"{header.path} has shape {shape} of {dtype}, {expected} bytes, but {missing} stored"
        )
    if kind == COMPACT:
        source, place = Memory(layout.take(stored)), 0
    else:
        place = header.metadata.place(address, stored) if expected else 0
    return Run(header, shape, dtype, source, place)


def _chunked(
    header: Header, layout: Fields, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Pieces:
    messages = header.all(FILTERS)
    filters = filters_of(messages[0], header.path, dtype.itemsize) if messages else []
    return Pieces(header.path, shape, chunks_of(header, layout, shape, dtype, filters))
