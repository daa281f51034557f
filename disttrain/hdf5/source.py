"""Bytes by place: of a file or of memory, never past the end."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from struct import Struct

__all__ = ["Fields", "Memory", "Metadata", "OpenFile", "Refused", "Source"]

# Enough for 7000 arrays; a hostile file of that size is read in under a second.
METADATA_BYTES = 4 << 20
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF


class Refused(Exception):
    """The file is damaged, hostile, or beyond what is read here; the text says which and where.

    `advice` says what to do where it is not simply to make the file again.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        # Names come from the file: no line breaks, no signs that a terminal obeys, no end in sight.
        super().__init__("".join(c if c.isprintable() else "?" for c in reason[:300]))
        self.advice = advice


class Source(ABC):
    """A run of `size` bytes."""

    size: int

    def read(self, place: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `place` on; raise Refused where they are not all there."""
        if place < 0 or count < 0 or place + count > self.size:
            raise Refused(f"it ends at byte {self.size}, but bytes up to {place + count} are named")
        return self._read(place, count)

    @abstractmethod
    def _read(self, place: int, count: int) -> bytes | memoryview: ...


class Memory(Source):
    """Bytes that are in memory already."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self.size = memoryview(content), len(content)

    def _read(self, place: int, count: int) -> memoryview:
        return self._content[place : place + count]


class OpenFile(Source):
    """A file that stays open as long as this object lives.

    Plain reads, no memory map: a file that shrinks meanwhile is an error and not a signal. A file
    that is replaced meanwhile goes on being the old one. Raises OSError.
    """

    def __init__(self, path: str | Path) -> None:
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


class Fields:
    """A piece of structure, read field by field; going past its end is refused."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._content) - self._at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > self.left:
            raise Refused("a part of its structure ends too early")
        self._at += count
        return self._content[self._at - count : self._at]

    def number(self, width: int) -> int:
        """Return the next `width` bytes as a whole number from 0."""
        return int.from_bytes(self.take(width), "little")

    def unpack(self, form: Struct) -> tuple[int, ...]:
        """Return the next bytes as the numbers of `form`."""
        return form.unpack(self.take(form.size))

    def padded(self, count: int) -> bytes:
        """Return the next `count` bytes, and leave out those that fill them up to eights."""
        content = self.take(count)
        self.take(min(-count % 8, self.left))
        return content


class Metadata:
    """The structure of a file: addresses count from `base`, and what is read of it is limited.

    `heaps` keeps the collections of texts that were read.
    """

    def __init__(self, source: Source, base: int) -> None:
        self.source, self._base = source, base
        self._bytes_left = METADATA_BYTES
        self.heaps: dict[int, dict[int, bytes]] = {}

    def fields(self, address: int, count: int, signature: bytes = b"") -> Fields:
        """Return the `count` bytes at `address`, which begin with `signature` (not returned)."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise Refused(f"its structure takes more than {METADATA_BYTES} bytes")
        return self.part(address, count, signature)

    def part(self, address: int, count: int, signature: bytes = b"") -> Fields:
        """Return the same, where the caller limits what is read."""
        fields = Fields(bytes(self.source.read(self.place(address, count), count)))
        if fields.take(len(signature)) != signature:
            raise Refused(f"there is no {signature.decode()} at byte {address}, where one is named")
        return fields

    def place(self, address: int, count: int) -> int:
        """Return where in the source the `count` bytes at `address` are, all of them."""
        place = self._base + address
        if place + count > self.source.size:
            raise Refused(f"byte {address + count} is named, but it ends before")
        return place
