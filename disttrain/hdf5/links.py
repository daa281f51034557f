"""The links of a group, in the two forms that HDF5 writes for groups of ordinary size."""

from __future__ import annotations

from struct import Struct

from disttrain.hdf5.header import Header
from disttrain.hdf5.source import UNDEFINED, Fields, Metadata, Refused

__all__ = ["links_of"]

SYMBOL_TABLE, LINK_INFO, LINK = 0x11, 0x02, 0x06
HARD, SOFT, EXTERNAL = 0, 1, 64
ELSEWHERE = {SOFT: "another place (soft)", EXTERNAL: "another file (external)"}
LEVELS, NAME = 4, 1024
# Where the name is, where the object is, and what is known of it.
ENTRY = Struct("<QQI20x")

Links = dict[str, int | str]
"""Name → the address of the object; or, for a link that is not followed, where it leads."""


def links_of(header: Header) -> Links:
    """Return the links of the group with this header; raise Refused where it is no group."""
    if header.has(SYMBOL_TABLE):
        return _from_table(header)
    if not header.has(LINK_INFO):
        raise Refused(f"{header.path} is neither a group nor an array")
    info = header.one(LINK_INFO, "link info")
    flags = info.take(2)[1]
    info.take(8 if flags & 1 else 0)
    if info.number(8) != UNDEFINED:
        raise Refused(
            f"{header.path} is a group in a form that is not read here",
            "write it without libver='latest'",
        )
    links: Links = {}
    for message in header.all(LINK):
        _put(links, *_link(message, header.path), header.path)
    return links


def _put(links: Links, name: bytes, target: int | str, path: str) -> None:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise Refused(f"{path} holds a name that is not UTF-8") from None
    if not text or "/" in text or text in links:
        raise Refused(f"{path} holds the name {text[:40]!r}, empty, twice or with a slash")
    links[text] = target


def _link(message: Fields, path: str) -> tuple[bytes, int | str]:
    if message.number(1) != 1:
        raise Refused(f"{path} has a link of a version that is not known")
    flags = message.number(1)
    kind = message.number(1) if flags & 8 else HARD
    message.take((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    name = message.take(message.number(1 << (flags & 3)))
    return name, message.number(8) if kind == HARD else ELSEWHERE.get(kind, "something unknown")


def _from_table(header: Header) -> Links:
    """Read the old form: a B-tree of symbol tables, and a heap with the names."""
    metadata, path = header.metadata, header.path
    table = header.one(SYMBOL_TABLE, "symbol table")
    tree, heap = table.number(8), metadata.fields(table.number(8), 32, b"HEAP")
    heap.take(4)
    length = heap.number(8)
    heap.take(8)
    names = metadata.fields(heap.number(8), length).take(length)
    links: Links = {}
    for leaf in _leaves(metadata, tree, path):
        entries = metadata.fields(leaf, 8, b"SNOD")
        entries.take(2)
        count = entries.number(2)
        entries = metadata.fields(leaf + 8, count * ENTRY.size)
        for _ in range(count):
            start, address, cached = entries.unpack(ENTRY)
            end = names.find(b"\0", start, start + NAME + 1)
            if end < 0:
                raise Refused(f"{path} holds a name of over {NAME} bytes")
            # Soft links have no object; the other forms of links are unknown to this form.
            target = ELSEWHERE[SOFT] if cached == 2 or address == UNDEFINED else address
            _put(links, names[start:end], target, path)
    return links


def _leaves(metadata: Metadata, address: int, path: str, above: int = LEVELS) -> list[int]:
    """Return the addresses of the symbol tables below the node of a B-tree at `address`."""
    node = metadata.fields(address, 24, b"TREE")
    kind, level, count = node.number(1), node.number(1), node.number(2)
    if kind != 0 or level >= above:
        raise Refused(f"the table of names of {path} is damaged")
    entries = metadata.fields(address + 24, 8 + 16 * count)
    entries.take(8)
    children = []
    for _ in range(count):
        children.append(entries.number(8))
        entries.take(8)
    if level == 0:
        return children
    return [leaf for child in children for leaf in _leaves(metadata, child, path, level)]
