"""A cheap checksum of an array that depends on every bit and its position."""

from __future__ import annotations

import numpy as np

__all__ = ["checksum"]

Array = np.ndarray
CHUNK = 1 << 16
MODULUS = 1 << 64
HALF = np.uint64(32)
SPREAD = 0x9E3779B97F4A7C15
# Odd factors, a different one for each word: one flipped bit always changes the sum.
ODD = np.arange(1, 2 * CHUNK, 2, dtype=np.uint64)


def checksum(array: Array) -> int:
    """Return a checksum of a contiguous host array, modulo 2⁶⁴.

    `Σ (2 i + 1) (word_i + K (word_i >> 32))` over the 64-bit words, K odd. One flipped bit always
    changes it. So do flips of the same bit in two words: without the second term, two flips of an
    upper bit could cancel modulo 2⁶⁴. It finds accidents, not deliberate changes.
    """
    raw = array.reshape(-1).view(np.uint8)
    whole = len(raw) // 8 * 8
    words, total = raw[:whole].view(np.uint64), 0
    for low in range(0, len(words), CHUNK):
        part = words[low : low + CHUNK]
        total += weighed(part, low) + SPREAD * weighed(part >> HALF, low)
    rest = int.from_bytes(raw[whole:].tobytes(), "little")
    return (total + (2 * len(words) + 1) * (rest + SPREAD * (rest >> 32))) % MODULUS


def weighed(part: Array, low: int) -> int:
    """Return `Σ (2 (low + i) + 1) part_i`, up to multiples of 2⁶⁴."""
    return int(np.dot(part, ODD[: len(part)])) + 2 * low * int(part.sum(dtype=np.uint64))
