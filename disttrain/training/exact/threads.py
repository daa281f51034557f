"""How many BLAS threads exact mode may use: as many as change no bits on the shapes of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from disttrain.arrays import Array, generator
from disttrain.data import Division
from disttrain.model.passes import times
from disttrain.model.products import multiply, products_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.predictor import Predictor

__all__ = ["steady_threads"]


def steady_threads(
    model: Predictor, sizes: Sequence[int], division: Division, arithmetic: Arithmetic
) -> int:
    """Return the BLAS threads of this rank: all that it has, or 1 where they give other bits.

    Every product of a step and of a block of the validation is computed with one thread and with
    all, on random numbers. `reproducibility.blas_threads` is taken as it is stated.
    """
    stated, most = model.settings.reproducibility.blas_threads, model.comm.blas_threads
    if stated is not None or most == 1 or model.network.device.kind != "cpu":
        return stated or 1
    pieces = {(p.low, p.high, rows) for rows in sizes for p in division.parts(rows)}
    model.comm.phase("probing the arithmetic")
    with threadpool_limits(1, "blas"):
        alone = products(model, pieces, arithmetic)
    with threadpool_limits(most, "blas"):
        together = products(model, pieces, arithmetic)
    same = all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    return most if same else 1


def products(
    model: Predictor, pieces: set[tuple[int, int, int]], arithmetic: Arithmetic
) -> list[Array]:
    """Return the products of a step's pieces and of a block: layer by layer, on random numbers."""
    found, dtype = [], np.dtype(model.network.dtype)
    tile, shared = arithmetic.plan.tile, arithmetic.kind == "shared"
    for product in products_of(model.network.layout, arithmetic.plan.grids if shared else ()):
        for low, high, rows in sorted(pieces | {(0, BLOCK_ROWS, BLOCK_ROWS)}):
            draw = generator(1, "threads", product.layer, rows)
            x, w, dy = (
                draw.standard_normal(shape, np.float32).astype(dtype)
                for shape in (
                    (rows, product.inputs),
                    (product.units, product.inputs),
                    (rows, product.units),
                )
            )
            part = slice(low, high)
            found += [
                times(np.dot, x[part], w.T, np.empty((high - low, len(w)), dtype), tile),
                times(np.dot, dy[part], w, np.empty((high - low, x.shape[1]), dtype), tile),
                np.dot(dy[part].T, x[part]),
            ]
            if shared:
                # The last rank's rows, as of any division: the whole is divided by the threads.
                flat = np.empty(product.low + w.size, dtype)
                multiply(product, dy, x, flat, 0, product.units)
                found.append(flat[product.low :])
    return found
