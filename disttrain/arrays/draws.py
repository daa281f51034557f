"""Random numbers that depend on their key alone, not on the rank or on earlier draws.

A draw is keyed by `(seed, purpose, numbers...)` and comes from a counter-based generator
(Philox-4x64: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011), so any rank can
repeat any draw.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["field", "generator", "key_of", "normals", "permutation"]

# Philox makes blocks of four 64-bit numbers, sixteen of 16 bits, and is advanced by whole blocks.
BLOCK = 4
PER_BLOCK = 16


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the stream of random numbers for `purpose` (an epoch, a step, a layer: `numbers`)."""
    return np.random.Generator(_bits(seed, purpose, *numbers))


def permutation(length: int, seed: int, purpose: str, *numbers: int) -> np.ndarray:
    """Return a permutation of `0..length-1` (int64).

    Sorts raw generator output instead of calling numpy's shuffle: that one's algorithm may change
    between versions of numpy, and with it the order of samples.
    """
    return np.argsort(_bits(seed, purpose, *numbers).random_raw(length), kind="stable")


def field(rows: int, width: int, first: int, seed: int, purpose: str, *numbers: int) -> np.ndarray:
    """Return rows `first .. first+rows-1` of an endless field of random 16-bit numbers.

    The generator jumps to row `first`, so a row does not depend on the range it is drawn with.
    """
    blocks = -(-width // PER_BLOCK)
    bits = _bits(seed, purpose, *numbers)
    bits.advance(first * blocks)
    raw = bits.random_raw(rows * blocks * BLOCK).astype("<u8", copy=False)
    return raw.view("<u2").reshape(rows, blocks * PER_BLOCK)[:, :width]


def normals(samples: np.ndarray, width: int, seed: int, purpose: str, *numbers: int) -> np.ndarray:
    """Return `width` normal numbers (float32) for each of `samples`, which depend on its number."""
    key = np.frombuffer(key_of(seed, purpose, *numbers), "<u8")
    found = np.empty((len(samples), width), np.float32)
    for row, sample in zip(found, samples.tolist(), strict=True):
        bits = np.random.Philox(key=key, counter=[0, 0, sample, 0])
        np.random.Generator(bits).standard_normal(dtype=np.float32, out=row)
    return found


def key_of(seed: int, purpose: str, *numbers: int) -> bytes:
    """Return the key of a stream: two numbers of 64 bits."""
    text = ":".join([str(seed), purpose, *map(str, numbers)])
    return hashlib.sha256(text.encode()).digest()[:16]


def _bits(seed: int, purpose: str, *numbers: int) -> np.random.Philox:
    return np.random.Philox(key=np.frombuffer(key_of(seed, purpose, *numbers), "<u8"))
