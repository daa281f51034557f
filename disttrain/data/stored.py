"""Bytes of a file by offset, never past its end, and the arrays that lie there."""

from __future__ import annotations

import math
import os
import re
import weakref
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

__all__ = ["Array", "OpenFile", "Plain", "Refused", "Source", "Zeros", "numbers"]

# A type of numbers as numpy names it: up to 8 bytes of either byte order, and truth values.
DTYPE = re.compile(r"[<>|]([iu][1248]|f[248]|b1)")
DIMENSIONS, LARGEST = 32, 1 << 59


class Refused(Exception):
    """The file is damaged, hostile, or beyond what is read here; the text says which and where.

    `advice` says what to do where it is not simply to make the file again.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        # Names come from the file: a terminal must get no control characters and no endless text.
        super().__init__("".join(c if c.isprintable() else "?" for c in reason[:300]))
        self.advice = advice


class Source(ABC):
    """`size` bytes that can be read from any offset."""

    size: int

    def read(self, place: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `place` on; raise Refused where they are not all there."""
        if place < 0 or count < 0 or place + count > self.size:
            raise Refused(f"it ends at byte {self.size}, but bytes up to {place + count} are named")
        return self._read(place, count)

    @abstractmethod
    def _read(self, place: int, count: int) -> bytes | memoryview: ...


class OpenFile(Source):
    """A file that stays open as long as this object lives.

    Plain reads, no memory map: a file that shrinks meanwhile is an error and not a signal. A file
    that is replaced meanwhile goes on being the old one. Raises OSError.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def _read(self, place: int, count: int) -> bytes | memoryview:
        first = os.pread(self._descriptor, count, place)
        if len(first) == count:
            return first
        # One call gives 2 GiB at the most.
        content = bytearray(first)
        while len(content) < count:
            part = os.pread(self._descriptor, count - len(content), place + len(content))
            if not part:
                raise Refused("it was cut off while it was read")
            content += part
        return memoryview(content)


class Array(ABC):
    """Numbers of a file, of `shape` and `dtype`, `length` bytes.

    Reading one row takes as long as reading `together` rows, those of a chunk; 1: no chunks.
    """

    together = 1

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        # With 1 instead of 0, as numpy does: arrays without values have a limit too.
        if len(shape) > DIMENSIONS or math.prod(max(1, n) for n in shape) >= LARGEST:
            raise Refused(f"{path} has shape {shape}")
        self.length = math.prod(shape) * dtype.itemsize

    @abstractmethod
    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`, an array that may be read-only."""

    def all(self) -> np.ndarray:
        """Return all rows."""
        return self.rows(0, self.shape[0])


class Plain(Array):
    """An array whose bytes lie in one run from `place` on, as they are in memory."""

    def __init__(
        self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], source: Source, place: int
    ) -> None:
        super().__init__(path, shape, dtype)
        self._source, self.place = source, place
        if place < 0 or place + self.length > source.size:
            raise Refused(
                f"{path} has shape {shape} of {dtype}, {self.length} bytes, but it ends before"
            )

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`."""
        row = self.length // self.shape[0] if self.shape[0] else 0
        content = self._source.read(self.place + first * row, (end - first) * row)
        return np.frombuffer(content, self.dtype).reshape(end - first, *self.shape[1:])


class Zeros(Array):
    """An array that is not in the file: targets that nobody needs."""

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return zeros for rows `first..end-1`."""
        return np.zeros((end - first, *self.shape[1:]), self.dtype)


def numbers(name: str) -> np.dtype[Any]:
    """Return the dtype that `name` stands for; raise ValueError for any type but numbers."""
    if not DTYPE.fullmatch(name):
        raise ValueError(f"{name:.40} is not a type of numbers")
    return np.dtype(name)
