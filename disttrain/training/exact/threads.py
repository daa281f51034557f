"""How many BLAS threads exact mode may use: as many as change no bits on the shapes of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from threadpoolctl import ThreadpoolController

from disttrain.arrays import Array
from disttrain.data import Dataset, Division, Piece
from disttrain.model import Dense, Dropout, Flatten
from disttrain.model.passes import times
from disttrain.model.products import edges, multiply, products_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.exact.trials import draws
from disttrain.training.predictor import Predictor

__all__ = ["steady_threads"]


def steady_threads(
    model: Predictor,
    sizes: Sequence[int],
    dataset: Dataset,
    division: Division,
    arithmetic: Arithmetic,
    tiles: int,
) -> int:
    """Return the BLAS threads of this rank: all that it has, or 1 where they give other bits.

    Every product of this rank's part of a step, and of a block of validation or test rows, is
    computed with one thread and with all, on random numbers. `reproducibility.blas_threads` is
    taken as it is stated. What a layer of a user's own multiplies is unknown: then it is 1.
    """
    stated, most = model.settings.reproducibility.blas_threads, model.comm.blas_threads
    built_in = all(type(layer) in (Dense, Dropout, Flatten) for layer in model.network.layers)
    if stated is not None or most == 1 or model.network.device.kind != "cpu" or not built_in:
        return stated or 1
    pieces = [piece for rows in sizes for piece in division.parts(rows)]
    blocks = {min(split.count, BLOCK_ROWS) for split in dataset.splits.values()}
    blocks |= {split.count % BLOCK_ROWS for split in dataset.splits.values()} - {0}
    # Product by product: only two of them are in memory at a time.
    pairs = zip(
        *(limited(n, products(model, pieces, blocks, arithmetic, tiles)) for n in (1, most)),
        strict=True,
    )
    return most if all(np.array_equal(a, b) for a, b in pairs) else 1


def limited(threads: int, arrays: Iterator[Array]) -> Iterator[Array]:
    """Yield the same arrays, each computed with so many BLAS threads."""
    controller = ThreadpoolController()
    while True:
        with controller.limit(limits=threads, user_api="blas"):
            array = next(arrays, None)
        if array is None:
            return
        yield array


def products(
    model: Predictor, pieces: Sequence[Piece], blocks: Iterable[int], arithmetic: Arithmetic,
    tiles: int,
) -> Iterator[Array]:  # fmt: skip
    """Yield the products of this rank's pieces of a step and of blocks of rows, layer by layer.

    Each is to be used before the next one is asked for.
    """
    layout, comm, dtype = model.network.layout, model.comm, model.network.dtype
    plan, shared = arithmetic.plan, arithmetic.kind == "shared"
    layers = products_of(layout, plan.grids if shared else ())
    cuts = edges(layers, layout.length, comm.size)
    vector = np.zeros(layout.length, dtype)
    for product in layers:
        for rows in sorted(blocks):
            for x, w, _ in draws(product, rows, dtype, 1):
                yield np.dot(x, w.T)
        for piece in pieces:
            part = slice(piece.low, piece.high)
            for x, w, dy in draws(product, piece.rows, dtype, 3):
                forward = np.empty((len(x[part]), len(w)), dtype)
                yield times(np.dot, x[part], w.T, forward, plan.tile, tiles)
                yield times(np.dot, dy[part], w, np.empty_like(x[part]), plan.tile, tiles)
                if shared:
                    mine = cuts[comm.rank], cuts[comm.rank + 1]
                    multiply(product, dy, x, vector, *product.rows(*mine))
                    yield vector[slice(*product.span(*mine))]
                else:
                    yield np.dot(dy[part].T, x[part])
