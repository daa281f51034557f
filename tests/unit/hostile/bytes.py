"""HDF5 files written byte by byte: what no library would write."""

from __future__ import annotations

import struct

from tests.unit.hostile.run import name_of

UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
ROOT = 96


def superblock(end: int, driver: int = UNDEFINED) -> bytes:
    """Return the oldest superblock; the root group's header is at byte 96."""
    widths = bytes([0, 0, 0, 0, 0, 8, 8, 0])
    return (
        b"\x89HDF\r\n\x1a\n" + widths + struct.pack("<HHI", 4, 16, 0)
        + struct.pack("<4Q", 0, UNDEFINED, end, driver)
        + struct.pack("<QQII16x", 0, ROOT, 0, 0)
    )  # fmt: skip


def header(*messages: tuple[int, bytes]) -> bytes:
    """Return an object's header with messages (kind, content)."""
    body = b"".join(
        struct.pack("<HHB3x", kind, len(content), 0) + content for kind, content in messages
    )
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def continuation(place: int, length: int) -> tuple[int, bytes]:
    """Return the message that a header goes on elsewhere."""
    return 0x10, struct.pack("<QQ", place, length)


def table(tree: int, heap: int) -> tuple[int, bytes]:
    """Return the message that a group's names are in a tree and a heap."""
    return 0x11, struct.pack("<QQ", tree, heap)


def node(kind: int, level: int, children: list[int]) -> bytes:
    """Return a node of a tree of names."""
    pairs = b"".join(struct.pack("<QQ", 0, child) for child in children)
    return b"TREE" + struct.pack("<BBHQQ", kind, level, len(children), 0, 0) + pairs + bytes(8)


def heap(place: int, names: bytes) -> bytes:
    """Return a heap that lies at `place`, with its names behind it."""
    return b"HEAP" + struct.pack("<4xQQQ", len(names), UNDEFINED, place + 32) + names


def names_at(entries: list[tuple[int, int]]) -> bytes:
    """Return a table of (place of the name, address of the object)."""
    rows = b"".join(struct.pack("<QQII16x", name, place, 0, 0) for name, place in entries)
    return b"SNOD" + struct.pack("<BxH", 1, len(entries)) + rows


def put(parts: dict[int, bytes]) -> bytes:
    """Return a file with a superblock and `parts` at their places."""
    end = max(place + len(part) for place, part in parts.items())
    content = bytearray(end)
    content[:ROOT] = superblock(end)
    for place, part in parts.items():
        content[place : place + len(part)] = part
    return bytes(content)


def header_in_a_circle() -> bytes:
    return put({ROOT: header(continuation(ROOT + 16, 24))})


def headers_without_end() -> bytes:
    """Each of two parts goes on in the other twice."""
    again = [continuation(ROOT + 16, 48)] * 2
    return put({ROOT: header(*again)})


def messages_without_end(kind: int = 0) -> bytes:
    """Empty messages, each part of the header with the same 32000 of them."""
    block = struct.pack("<HHB3x", kind, 0, 0) * 32_000
    parts = [continuation(4096, len(block))] * 60
    return put({ROOT: header(*parts, table(0, 0)), 4096: block})


def attributes_without_end() -> bytes:
    return messages_without_end(0x0C)


def tree_in_a_circle() -> bytes:
    parts = {ROOT: header(table(200, 400)), 200: node(0, 1, [200]), 400: heap(400, b"\0" * 8)}
    return put(parts)


def tree_of_one_leaf_many_times() -> bytes:
    """Four levels of nodes, each of which names the next 2000 times."""
    parts = {ROOT: header(table(1024, 600)), 600: heap(600, b"\0a\0\0")}
    place = 1024
    for level in (3, 2, 1, 0):
        following = place + 24 + 2000 * 16 + 8
        parts[place] = node(0, level, [following] * 2000)
        place = following
    parts[place] = names_at([(1, ROOT)])
    return put(parts)


def a_name_without_end() -> bytes:
    entries = [(n, ROOT) for n in range(2000)]
    parts = {ROOT: header(table(200, 400)), 200: node(0, 0, [1 << 20])}
    return put(parts | {400: heap(400, b"a" * 500_000), 1 << 20: names_at(entries)})


def many_groups() -> bytes:
    """A group that holds itself under 90000 names, all read where one is asked for."""
    names = b"\0" + b"".join(b"%06d\0" % n for n in range(90_000))
    entries = [(1 + 7 * n, ROOT) for n in range(45_000)]
    parts = {ROOT: header(table(200, 400)), 200: node(0, 0, [1 << 20]), 400: heap(400, names)}
    return put(parts | {1 << 20: names_at(entries)})


def of_a_family() -> bytes:
    content = put({ROOT: header()})
    return superblock(len(content), driver=64) + content[ROOT:]


def longer_than_it_is() -> bytes:
    content = put({ROOT: header()})
    return superblock(1 << 40) + content[ROOT:]


BYTES = {
    name_of(f): f
    for f in (
        header_in_a_circle, headers_without_end, messages_without_end,
        attributes_without_end, tree_in_a_circle, tree_of_one_leaf_many_times,
        a_name_without_end, many_groups, of_a_family, longer_than_it_is,
    )
}  # fmt: skip
