"""The shape of a sample: which shapes are interchangeable, and shapes in words."""

from __future__ import annotations

import math

__all__ = ["channels_first", "in_words", "interchangeable"]


def interchangeable(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return True where samples of both shapes have the same numbers in the same order.

    (28, 28), (1, 28, 28) and (784,) are; (3, 32, 32) and (32, 32, 3) are not, although they have
    as many numbers.
    """
    axes, others = ([n for n in shape if n != 1] for shape in (one, other))
    flat = len(axes) <= 1 or len(others) <= 1
    return math.prod(one) == math.prod(other) and (axes == others or flat)


def in_words(shape: tuple[int, ...]) -> str:
    """Return the shape of a sample in words: "28 x 28 = 784 numbers"."""
    count = math.prod(shape)
    sides = f"{' x '.join(map(str, shape))} = " if len(shape) > 1 else ""
    return f"{sides}{count:,} number{'s' * (count != 1)}"


def channels_first(shape: tuple[int, ...]) -> bool:
    """Tell whether a sample looks like an image of 1, 3 or 4 channels that stand first.

    Images here have them last: (3, 32, 32) is taken for 3 x 32 pixels with 32 channels.
    """
    if len(shape) != 3:
        return False
    channels, height, width = shape
    return channels in (1, 3, 4) and min(height, width) > 4
