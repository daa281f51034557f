"""Object headers: the messages that say what a group or an array is."""

from __future__ import annotations

from struct import Struct

from disttrain.hdf5.source import Fields, Metadata, Refused

__all__ = ["Header"]

NOTHING, CONTINUATION = 0x00, 0x10
SHARED = 0x02
# HDF5 itself has no larger block but the first, whose length is a 32-bit number.
BLOCK_BYTES = 1 << 18
BLOCKS = 64
# Kind, length and flags of a message: in old headers, in new ones, and there with its number.
OLD, NEW, ORDERED = Struct("<HHB3x"), Struct("<BHB"), Struct("<BHB2x")


class Header:
    """The messages of one object; `path` names it in errors."""

    def __init__(self, metadata: Metadata, address: int, path: str) -> None:
        self.metadata, self.path = metadata, path
        self._messages: dict[int, list[tuple[int, bytes]]] = {}
        self._blocks_left = BLOCKS
        if metadata.fields(address, 4).take(4) == b"OHDR":
            self._read_new(address)
        else:
            self._read_old(address)

    def has(self, kind: int) -> bool:
        """Return True where there is a message of this kind."""
        return kind in self._messages

    def all(self, kind: int) -> list[Fields]:
        """Return the messages of a kind."""
        found = self._messages.get(kind, [])
        if any(flags & SHARED for flags, _ in found):
            raise Refused(f"{self.path} refers to a part of another object")
        return [Fields(content) for _, content in found]

    def one(self, kind: int, name: str) -> Fields:
        """Return the one message of a kind, which must be there."""
        found = self.all(kind)
        if len(found) != 1:
            raise Refused(f"{self.path} has {len(found)} messages '{name}' and not one")
        return found[0]

    def _read_old(self, address: int) -> None:
        start = self.metadata.fields(address, 16)
        if start.number(1) != 1:
            raise Refused(f"there is no object at byte {address}, where {self.path} should be")
        start.take(1 + 2 + 4)
        todo = [(address + 16, start.number(4))]
        while todo:
            block = self._block(*todo.pop(0))
            while block.left >= OLD.size:
                kind, length, flags = block.unpack(OLD)
                self._add(kind, flags, block.take(length), todo)

    def _read_new(self, address: int) -> None:
        start = self.metadata.fields(address, 6, b"OHDR")
        if start.number(1) != 2:
            raise Refused(f"the header of {self.path} has a version that is not known")
        flags = start.number(1)
        skipped = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        length = self.metadata.fields(address + skipped, width).number(width)
        todo = [(address + skipped + width, length)]
        signature = b""
        while todo:
            place, length = todo.pop(0)
            # A continuation begins with a signature and ends with a checksum, the first does not.
            block = self._block(place, length - (4 if signature else 0), signature)
            signature = b"OCHK"
            message = ORDERED if flags & 4 else NEW
            while block.left >= message.size:
                kind, size, own = block.unpack(message)
                self._add(kind, own, block.take(size), todo)

    def _block(self, address: int, length: int, signature: bytes = b"") -> Fields:
        self._blocks_left -= 1
        if self._blocks_left < 0 or not len(signature) <= length <= BLOCK_BYTES:
            raise Refused(f"{self.path} has a header of too many parts, or of {length} bytes")
        return self.metadata.fields(address, length, signature)

    def _add(self, kind: int, flags: int, content: bytes, todo: list[tuple[int, int]]) -> None:
        if kind == CONTINUATION:
            fields = Fields(content)
            todo.append((fields.number(8), fields.number(8)))
        elif kind != NOTHING:
            self._messages.setdefault(kind, []).append((flags, content))
