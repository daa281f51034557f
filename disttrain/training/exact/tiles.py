"""How many tiles of a small product one call may compute: as many as change no bits here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from disttrain.arrays import Array
from disttrain.data import Division
from disttrain.model.passes import SMALL, times
from disttrain.model.products import products_of
from disttrain.training.exact.probe import operands
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import Plan

__all__ = ["tiles_at_once"]

MOST = (16, 8, 4, 2)


def tiles_at_once(model: Predictor, sizes: Sequence[int], division: Division, plan: Plan) -> int:
    """Return how many tiles of `plan` one call may compute; 1 where more give other bits.

    A tile is so small that a call takes longer than its arithmetic. Every small product of this
    rank's part of a batch of `sizes` rows is computed both ways, on random numbers. Only this
    rank's time depends on it: the bits are those of tiles that are computed one by one.
    """
    if not plan.tile:
        return 1
    parts = [piece for rows in sizes for piece in division.parts(rows)]
    model.comm.phase("probing the arithmetic")
    with threadpool_limits(model.settings.reproducibility.blas_threads or 1, "blas"):
        found = list(small(model, {piece.high - piece.low for piece in parts}, plan))
        for tiles in MOST if found else ():
            same = (np.array_equal(multiplied(a, b, plan, tiles), want) for a, b, want in found)
            if all(same):
                return tiles
    return 1


def small(
    model: Predictor, rows_at_once: Iterable[int], plan: Plan
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield the factors of each small product, and what its tiles give one by one."""
    for product in products_of(model.network.layout):
        if plan.tile * product.units * product.inputs >= SMALL:
            continue
        for rows in sorted(rows_at_once):
            x, w, dy = operands(product, rows, model.network.dtype)
            for a, b in ((x, w.T), (dy, w)):
                yield a, b, multiplied(a, b, plan, 1)


def multiplied(a: Array, b: Array, plan: Plan, tiles: int) -> Array:
    """Return `a @ b`, so many tiles in a call."""
    return times(np.dot, a, b, np.empty((len(a), b.shape[1]), a.dtype), plan.tile, tiles)
