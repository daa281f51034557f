"""Arrays that are asked for again in every step and are the same memory each time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from disttrain.arrays.device import Array

__all__ = ["Workspace"]


class Workspace:
    """Named arrays whose first axis counts samples, made by `allocate(shape, dtype)`.

    For the same key and shape the same memory is returned; fewer samples get the head of it. So a
    step allocates nothing once the largest batch has been seen.
    """

    def __init__(self, allocate: Callable[[tuple[int, ...], Any], Array]) -> None:
        self._allocate = allocate
        self._arrays: dict[Hashable, Array] = {}

    def array(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of `shape`; what it holds is what was left there."""
        have = self._arrays.get(key)
        if (
            have is None
            or len(have) < shape[0]
            or have.shape[1:] != shape[1:]
            or have.dtype != dtype
        ):
            have = self._arrays[key] = self._allocate(shape, dtype)
        return have[: shape[0]]
