"""Arrays that are asked for again in every step and are the same memory each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from disttrain.arrays.device import Array

__all__ = ["Chunks", "OneArray", "Workspace"]

# Bytes: numpy asks the system for large pages for arrays of 4 MB and more.
SMALL, LARGE, CHUNK, LINE = 1 << 16, 1 << 22, 1 << 25, 64


class Workspace:
    """Named arrays whose first axis counts samples, made by `allocate(shape, dtype)`.

    For the same key and shape the same memory is returned; fewer samples get the head of it. So a
    step allocates nothing once the largest batch has been seen.
    """

    def __init__(self, allocate: Callable[[tuple[int, ...], Any], Array]) -> None:
        self._allocate = allocate
        # Key → shape and dtype of the last request, the array, the memory that it is the head of.
        self._arrays: dict[Hashable, tuple[tuple[int, ...], Any, Array, Array]] = {}

    def array(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of `shape`; its values are those of the last use."""
        have = self._arrays.get(key)
        if have is not None and have[0] == shape and have[1] == dtype:
            return have[2]
        memory = have[3] if have else None
        if (
            memory is None
            or len(memory) < shape[0]
            or memory.shape[1:] != shape[1:]
            or memory.dtype != dtype
        ):
            memory = self._allocate(shape, dtype)
        head = memory[: shape[0]]
        self._arrays[key] = shape, dtype, head, memory
        return head


class OneArray(Workspace):
    """One array at a time: what is asked for next lies in the same memory."""

    def __init__(self, allocate: Callable[[tuple[int, ...], Any], Array]) -> None:
        super().__init__(allocate)
        self._memory: Array | None = None

    def array(self, key: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of `shape`; its values are those of the last use of the memory."""
        size = math.prod(shape)
        if self._memory is None or len(self._memory) < size or self._memory.dtype != dtype:
            self._memory = self._allocate((size,), dtype)
        return self._memory[:size].reshape(shape)


class Chunks:
    """Arrays side by side in chunks of memory that are large enough for large pages.

    The arrays of a leaf are not, one by one; a step then takes longer to find its memory.
    """

    def __init__(self) -> None:
        self._chunk, self._used = np.empty(0, np.uint8), 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on the host like `numpy.empty`; a small or large one lies by itself."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not SMALL <= size < LARGE:
            return np.empty(shape, dtype)
        if self._used + size > len(self._chunk):
            self._chunk = np.empty(CHUNK, np.uint8)
            self._used = -self._chunk.ctypes.data % LINE
        part = self._chunk[self._used : self._used + size]
        self._used += -(-size // LINE) * LINE
        return part.view(dtype).reshape(shape)
