"""A node of an ONNX graph, and the axes of the values that go from one to the next.

ONNX has an image's channels first, (channels, height, width), disttrain last.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from disttrain.interop.onnx_known import ROWS

__all__ = ["Axes", "Node"]

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class Node(NamedTuple):
    """One node of a graph; `given` are its constant inputs by place, `made` the library's own."""

    kind: str
    name: str
    given: dict[int, np.ndarray]
    made: Any
    options: dict[str, Any]

    @property
    def output(self) -> str:
        """The name of the value that it computes."""
        return str(self.made.output[0])

    @property
    def along(self) -> list[int] | None:
        """The axes it is told to work on, an option in older graphs and an input in newer ones."""
        own = self.options.get("axes", self.given.get(1))
        return None if own is None else [int(axis) for axis in np.ravel(own)]


class Axes(NamedTuple):
    """The sides of a value behind its rows, 0 where the graph does not state one.

    `first`: its channels come first. `made`: a layer computed it. `flat`: the graph has it in one
    row, and `sides` are those from before.
    """

    sides: tuple[int, ...]
    first: bool = False
    made: bool = False
    flat: bool = False

    @property
    def size(self) -> int:
        """The numbers in one row."""
        return math.prod(self.sides)

    def behind(self, node: Node) -> Axes | None:
        """Return the axes behind a node; None where it would mix what the layers keep apart."""
        if node.kind == "Transpose":
            order = list(node.options.get("perm", []))
            if self.flat or len(self.sides) != 3 or order != (LAST if self.first else FIRST):
                return None
            sides = tuple(self.sides[n - 1] for n in order[1:])
            return self._replace(sides=sides, first=not self.first)
        if node.kind == "Flatten":
            return self._flattened() if node.options.get("axis", 1) == 1 else None
        if node.kind == "Reshape":
            return self._shaped(node)
        return self._squeezed(node) if node.kind in ("Squeeze", "Unsqueeze") else self

    def number(self, constant: np.ndarray) -> Any:
        """Return a constant as one number, as one for each unit or channel or, of what no layer
        made, for each input; None where it is neither."""
        if constant.dtype.kind == "i" and ROWS in constant:
            return None
        array = np.asarray(constant, "f8")
        if array.size == 1:
            return array.reshape(-1)[0]
        if self.made:
            channels, axis = (self.sides[0], -3) if self.first else (self.sides[-1], -1)
            axis = -1 if self.flat else axis
            known = array.ndim >= -axis and array.shape[axis] == array.size == channels
            return array.reshape(-1) if known else None
        if self.first:
            return None
        if 0 in self.sides:
            return array.reshape(-1) if array.shape[-1] == array.size else None
        try:
            wide = np.broadcast_to(array, (1, *self.sides))
        except ValueError:
            return None
        return wide.reshape(-1)

    def _flattened(self) -> Axes:
        if self.made or self.first:
            return self._replace(flat=True)
        return Axes((self.size,))

    def _shaped(self, node: Node) -> Axes | None:
        stated = np.ravel(node.given.get(1, ROWS))[1:]
        if 1 not in node.given or ROWS in stated:
            return None
        now, size = (self.size,) if self.flat else self.sides, self.size
        sides = [now[n] if side == 0 and n < len(now) else int(side)
                 for n, side in enumerate(stated)]  # fmt: skip
        if -1 in sides:
            others = -math.prod(sides)
            sides[sides.index(-1)] = size // others if others > 0 else 0
        if size and math.prod(sides) != size:
            return None
        found = tuple(sides)
        if len(found) <= 1:
            return self._flattened()
        if not self.made and not self.first:
            return Axes(found)
        if found == self.sides:
            return self._replace(flat=False)
        # Units of a dense layer as a series.
        return Axes(found, made=True) if not self.first and found == (1, *self.sides, 1) else None

    def _squeezed(self, node: Node) -> Axes | None:
        if self.made or self.first:
            one_row = node.kind == "Squeeze" and max(self.sides, default=1) == self.size
            return self._flattened() if one_row else None
        along, sides = node.along, list(self.sides)
        if node.kind == "Squeeze":
            gone = [n + 1 for n, side in enumerate(sides) if side == 1] if along is None else along
            gone = [axis % (len(sides) + 1) for axis in gone]
            return Axes(tuple(side for n, side in enumerate(sides) if n + 1 not in gone))
        rank = len(sides) + 1 + len(along or [])
        for axis in sorted(axis % rank for axis in along or []):
            if axis == 0:
                return None
            sides.insert(axis - 1, 1)
        return Axes(tuple(sides))
