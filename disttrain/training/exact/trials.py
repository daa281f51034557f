"""The random numbers on which exact mode tries whether a division of a product changes bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from disttrain.arrays import Array, generator
from disttrain.model.products import Product

__all__ = ["draws"]

# What one trial may take, and what a call and a multiplication of it take, in one unit.
WORK, CALL, MULTIPLICATION = 1 << 25, 1 << 13, 1 << 3
FEWEST, MOST = 2, 64


def draws(product: Product, rows: int, dtype: str, calls: int) -> Iterator[tuple[Array, ...]]:
    """Yield `x`, `W` and `dy` of a layer for so many rows again and again, alike on every rank.

    Two ways to round give the same number now and then. In a small product few numbers can differ:
    so it is drawn up to 64 times, one that takes long, or that `calls` divide much, twice. Numbers
    have all the digits of `dtype`: products of shorter ones may need no rounding.
    """
    work = calls * CALL + rows * product.units * product.inputs * MULTIPLICATION
    draw = generator(1, "trial of a division", product.layer, rows)
    shapes = (rows, product.inputs), (product.units, product.inputs), (rows, product.units)
    for _ in range(min(max(WORK // max(work, 1), FEWEST), MOST)):
        yield tuple(draw.standard_normal(shape, np.dtype(dtype)) for shape in shapes)
