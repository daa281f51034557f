"""Groups: names, and where the objects are that they stand for."""

from __future__ import annotations

from typing import Any

from disttrain.hdf5.array import DATASPACE, Array, array_of
from disttrain.hdf5.attributes import attributes_of, value_of
from disttrain.hdf5.header import Header
from disttrain.hdf5.links import links_of
from disttrain.hdf5.source import Refused

__all__ = ["Group"]

DEPTH = 16


class Group:
    """A group of a file, at `path`. Only what is asked for is read."""

    def __init__(self, header: Header, depth: int = 0) -> None:
        self.path = header.path
        self._metadata, self._depth = header.metadata, depth
        self._links, self._attributes = links_of(header), attributes_of(header)

    @property
    def names(self) -> list[str]:
        """What the group holds."""
        return list(self._links)

    @property
    def attribute_names(self) -> list[str]:
        """The names of the group's attributes."""
        return list(self._attributes)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the value of an attribute, `default` where there is none of that name."""
        if name not in self._attributes:
            return default
        where = f"the attribute '{name}' of {self.path}"
        return value_of(self._attributes[name], self._metadata, where)

    def get(self, path: str) -> Group | Array | None:
        """Return what `path` means from here, as in "train/inputs"; None where there is nothing.

        Raises Refused for a link that is not a plain one, and for an array that is not read here.
        """
        name, _, rest = path.strip("/").partition("/")
        if name not in self._links:
            return None
        found = self._open(name)
        if not rest:
            return found
        return found.get(rest) if isinstance(found, Group) else None

    def _open(self, name: str) -> Group | Array:
        path = f"{self.path.rstrip('/')}/{name}"
        address = self._links[name]
        if isinstance(address, str):
            raise Refused(
                f"{path} is a link to {address}, which is not followed", "put the values there"
            )
        if self._depth >= DEPTH:
            raise Refused(f"{path} lies more than {DEPTH} groups deep")
        header = Header(self._metadata, address, path)
        if header.has(DATASPACE):
            return array_of(header)
        return Group(header, self._depth + 1)
