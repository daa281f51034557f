"""A cheap checksum of an array that depends on every bit and its position."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable

import numpy as np

__all__ = ["checksum"]

Array = np.ndarray
CHUNK = 1 << 16
MODULUS = 1 << 64
HALF = np.uint64(32)
SPREAD = 0x9E3779B97F4A7C15
# Odd factors, a different one for each word: one flipped bit always changes the sum.
ODD = np.arange(1, 2 * CHUNK, 2, dtype=np.uint64)


@functools.cache
def compiled() -> Callable[[int, int, int], int] | None:
    """Return the sum over words as kernels.c has it, or None where that was not built."""
    found = importlib.util.find_spec("disttrain.arrays._kernels")
    if found is None or found.origin is None:
        return None
    try:
        function = ctypes.CDLL(found.origin)["checksum"]
    except AttributeError:
        return None
    function.argtypes = [ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_uint64]
    function.restype = ctypes.c_uint64
    return function


def checksum(array: Array) -> int:
    """Return a checksum of a contiguous host array, modulo 2⁶⁴.

    `Σ (2 i + 1) (word_i + K (word_i >> 32))` over the 64-bit words, K odd. One flipped bit always
    changes it. So do flips of the same bit in two words: without the second term, two flips of an
    upper bit could cancel modulo 2⁶⁴. It finds accidents, not deliberate changes.
    """
    raw = array.reshape(-1).view(np.uint8)
    words = len(raw) // 8
    whole, rest = raw[: 8 * words], int.from_bytes(raw[8 * words :].tobytes(), "little")
    function = compiled()
    total = function(words, raw.ctypes.data, SPREAD) if function else in_numpy(whole)
    return (total + (2 * words + 1) * (rest + SPREAD * (rest >> 32))) % MODULUS


def in_numpy(raw: Array) -> int:
    """Return the sum over the words of so many bytes, up to multiples of 2⁶⁴."""
    words, total = raw.view(np.uint64), 0
    for low in range(0, len(words), CHUNK):
        part = words[low : low + CHUNK]
        total += weighed(part, low) + SPREAD * weighed(part >> HALF, low)
    return total


def weighed(part: Array, low: int) -> int:
    """Return `Σ (2 (low + i) + 1) part_i`, up to multiples of 2⁶⁴."""
    return int(np.dot(part, ODD[: len(part)])) + 2 * low * int(part.sum(dtype=np.uint64))
