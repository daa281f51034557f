"""All of a file, for formats in which nothing else may stand."""

from __future__ import annotations

from collections.abc import Iterator

from disttrain.hdf5.array import Array
from disttrain.hdf5.group import Group
from disttrain.hdf5.source import Refused, Source

__all__ = ["everything_in"]


def everything_in(root: Group, source: Source) -> dict[str, Array]:
    """Return all arrays of a file by path, as in "parameters/dense1/weight".

    Raises Refused where any object is not read here, is not plain, or where together they are
    larger than the file: then some of them share their bytes.
    """
    found: dict[str, Array] = {}
    length = 0
    for array in _arrays(root):
        length += array.length
        if not array.plain:
            raise Refused(f"{array.path} is in chunks, where one run of bytes is the rule")
        if length > source.size:
            raise Refused("its arrays are together larger than the file: some share their bytes")
        found[array.path.lstrip("/")] = array
    return found


def _arrays(group: Group) -> Iterator[Array]:
    for name in group.attribute_names:
        group.attribute(name)
    for name in group.names:
        member = group.get(name)
        if isinstance(member, Array):
            yield member
        elif member is not None:
            yield from _arrays(member)
