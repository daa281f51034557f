"""How many tiles of a small product one call may compute: as many as change no bits here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from disttrain.arrays import Array
from disttrain.data import Division
from disttrain.model.passes import SMALL, times
from disttrain.model.products import products_of
from disttrain.training.exact.trials import draws
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import Plan

__all__ = ["tiles_at_once"]

MANY = (2, 4, 8, 16)


def tiles_at_once(model: Predictor, sizes: Sequence[int], division: Division, plan: Plan) -> int:
    """Return how many tiles of `plan` one call may compute; 1 where more give other bits.

    A tile is so small that a call takes longer than its arithmetic. Every small product of this
    rank's part of a batch of `sizes` rows is computed in all ways, on random numbers. Only this
    rank's time depends on it: the bits are those of tiles that are computed one by one.
    """
    same = list(MANY) if plan.tile else []
    parts = {part.high - part.low for rows in sizes for part in division.parts(rows)}
    with threadpool_limits(model.settings.reproducibility.blas_threads or 1, "blas"):
        for a, b in small(model, parts, plan) if same else ():
            want = multiplied(a, b, plan, 1)
            same = [n for n in same if np.array_equal(multiplied(a, b, plan, n), want)]
            if not same:
                return 1
    return max(same, default=1)


def small(
    model: Predictor, rows_at_once: Iterable[int], plan: Plan
) -> Iterator[tuple[Array, Array]]:
    """Yield factors of each small product of which a part has more than one whole tile."""
    for product in products_of(model.network.layout):
        if plan.tile * product.units * product.inputs >= SMALL:
            continue
        for rows in sorted(rows_at_once):
            if rows >= 2 * plan.tile:
                for x, w, dy in draws(product, rows, model.network.dtype, 2 * rows // plan.tile):
                    yield x, w.T
                    yield dy, w


def multiplied(a: Array, b: Array, plan: Plan, tiles: int) -> Array:
    """Return `a @ b`, so many tiles in a call."""
    return times(np.dot, a, b, np.empty((len(a), b.shape[1]), a.dtype), plan.tile, tiles)
