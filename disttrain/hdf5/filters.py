"""Undoing the filters that chunks usually pass: gzip, lzf, shuffle and fletcher32."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from disttrain.hdf5.source import Fields, Refused

__all__ = ["Filter", "filters_of"]

GZIP, SHUFFLE, FLETCHER, LZF = 1, 2, 3, 32000
KNOWN = (GZIP, SHUFFLE, FLETCHER, LZF)
# HDF5 allows 32; each of these makes sense once.
COUNT = 4
ADVICE = "write it again with gzip or without a filter (`h5repack -f NONE OLD NEW`)"


@dataclass(frozen=True)
class Filter:
    """One filter of a chunk; `item` is the size of a number, in bytes."""

    kind: int
    item: int

    def undo(self, content: bytes, most: int) -> bytes:
        """Return what was filtered; raise Refused for damage and for more than `most` bytes."""
        if self.kind == GZIP:
            return _gunzipped(content, most)
        if self.kind == LZF:
            return _unpacked(content, most)
        if self.kind == FLETCHER:
            return _verified(content)
        whole = len(content) // self.item
        mixed = np.frombuffer(content, np.uint8, whole * self.item)
        # What is left over after whole numbers is not shuffled.
        return mixed.reshape(self.item, whole).T.tobytes() + content[whole * self.item :]


def filters_of(message: Fields, path: str, item: int) -> list[Filter]:
    """Return the filters that a filter message names, the first to be applied first."""
    version, count = message.number(1), message.number(1)
    message.take(6 if version == 1 else 0)
    if version not in (1, 2) or count > COUNT:
        raise Refused(f"{path} has {count} filters of version {version}", ADVICE)
    filters = []
    for _ in range(count):
        kind = message.number(2)
        if kind not in KNOWN:
            raise Refused(f"{path} has the filter {kind}, which is not read here", ADVICE)
        named = version == 1 or kind >= 256
        name, _, values = message.number(2) if named else 0, message.take(2), message.number(2)
        message.take(name)
        message.take(4 * (values + (values & 1 if version == 1 else 0)))
        filters.append(Filter(kind, item))
    return filters


def _gunzipped(content: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(content, most)
    except zlib.error as error:
        raise Refused(f"a gzip chunk is damaged ({error})") from None
    if not stream.eof:
        raise Refused("a gzip chunk is cut off, or holds more than its shape says")
    return found


def _unpacked(content: bytes, most: int) -> bytes:
    """Undo LZF: runs of bytes as they are, and copies of what came before."""
    found, at = bytearray(), 0
    try:
        while at < len(content):
            head, at = content[at], at + 1
            if head < 32:
                found += content[at : at + head + 1]
                at += head + 1
            else:
                length = head >> 5
                if length == 7:
                    length, at = length + content[at], at + 1
                back, at, length = ((head & 31) << 8 | content[at]) + 1, at + 1, length + 2
                if back > len(found):
                    raise Refused("an lzf chunk is damaged")
                start = len(found) - back
                piece = found[start : start + length]
                # A copy may overlap what it makes: then it repeats.
                found += (piece * (-(-length // len(piece))))[:length]
            if len(found) > most:
                raise Refused("an lzf chunk holds more than its shape says")
    except IndexError:
        raise Refused("an lzf chunk is damaged") from None
    return bytes(found)


def _verified(content: bytes) -> bytes:
    """Check and take off Fletcher's sum: of 16-bit words, and of the sums so far, mod 65535."""
    if len(content) < 4:
        raise Refused("a chunk is shorter than its checksum")
    body, stated = content[:-4], int.from_bytes(content[-4:], "little")
    words = np.frombuffer(body + b"\0" * (len(body) & 1), ">u2").astype(np.int64)
    nested = np.cumsum(words) % 65535
    if (nested[-1:].sum() - (stated & 65535)) % 65535 or (nested.sum() - (stated >> 16)) % 65535:
        raise Refused("a chunk's checksum does not match")
    return body
