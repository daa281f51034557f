"""Exact mode's assumptions, tried out before the first step on the shapes of the run.

One is that the same pass gives the same bits again, here and on every rank. The other, for products
over the whole batch, is that a row comes out the same with whichever other rows it is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from disttrain.arrays import Array, generator
from disttrain.data import Leaves
from disttrain.model import Network
from disttrain.model.products import Product, edges, multipliable, multiply, products_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import Plan

__all__ = ["divisible", "probe", "synthetic"]

# Matrix products are made of tiles: OpenBLAS's kernels for AVX2 treat 12 rows of a result alike and
# the rest in another way, so that only divisions at multiples of 12 rows give the same bits; those
# for AVX-512 allow any but a single row.
GRIDS = (1, 12, 24, 48, 96)
# How rows may be divided, the cheapest first: the grid, and whether small products are tiled by it.
WAYS = ((1, False), (12, False), (12, True), (24, False), (24, True), (48, False), (48, True))


def synthetic(model: Predictor, rows: int, classes: int, outputs: int) -> tuple[Array, Array]:
    """Return inputs and targets of no meaning, the same on every rank."""
    draw, device = generator(model.settings.seed, "probe"), model.network.device
    inputs = draw.random((rows, model.network.inputs), np.dtype(model.network.dtype))
    if classes:
        return device.put(inputs), device.put(draw.integers(0, classes, rows))
    targets = draw.random((rows, outputs), np.dtype(model.network.dtype))
    return device.put(inputs), device.put(targets)


def products_in(model: Predictor, inputs: Array, targets: Array, place: int = 0) -> list[Array]:
    """Return what a pass multiplies, gradients and inputs of each weight, and the outputs."""
    network = model.network
    kept: list[Array] = []
    network.moment.place = place
    network.keep_products(lambda layer, dy, x: kept.extend((dy.copy(), x.copy())))
    outputs, backward = network.forward(inputs)
    out = outputs.copy()
    _, loss_gradient = model.loss.forward(outputs, targets, model.loss_context)
    backward(loss_gradient())
    network.keep_products(None)
    return [*kept, out]


def probe(model: Predictor, inputs: Array, targets: Array, passes: Sequence[int]) -> str:
    """Return the digest of outputs and gradients of the first rows, and of a block's outputs.

    `passes` are the numbers of rows that go through the network at once in training: kernels treat
    a single row, or the rows that are left over, in ways of their own.
    """
    network, device = model.network, model.network.device
    gradients = device.put(np.zeros(network.layout.length, network.dtype))
    network.write_gradients_to(gradients)
    sha = hashlib.sha256()
    for rows in passes:
        outputs, backward = network.forward(inputs[:rows])
        sha.update(np.ascontiguousarray(device.get(outputs)).tobytes())
        _, loss_gradient = model.loss.forward(outputs, targets[:rows], model.loss_context)
        backward(loss_gradient())
        sha.update(device.get(gradients).tobytes())
    block = network.predict(inputs[:BLOCK_ROWS])
    sha.update(np.ascontiguousarray(device.get(block)).tobytes())
    if device.kind == "cpu" and multipliable(network.layout):
        for product in products_of(network.layout):
            for rows in passes:
                x, _, dy, found = dense(network, product, rows)
                sha.update(np.dot(dy.T, x).tobytes() + found.tobytes())
    return sha.hexdigest()


def dense(network: Network, product: Product, rows: int) -> tuple[Array, Array, Array, Array]:
    """Return `x`, `W`, `dy` of a layer for so many rows, without zeros, and `x Wᵀ | dy W`.

    A network has zeros, as behind a unit that is dead: no division changes those, now.
    """
    draw, dtype = generator(1, "dense probe", product.layer, rows), np.dtype(network.dtype)
    x, w, dy = (
        draw.standard_normal(shape, np.float32).astype(dtype)
        for shape in (
            (rows, product.inputs),
            (product.units, product.inputs),
            (rows, product.units),
        )
    )
    return x, w, dy, rows_of(network, product, x, w, dy)


def rows_of(network: Network, product: Product, x: Array, w: Array, dy: Array) -> Array:
    """Return `x Wᵀ` and `dy W` side by side, as a layer computes them."""
    multiply_rows = network.row_product(product.layer)
    forward = multiply_rows(x, w.T, np.empty((len(x), product.units), x.dtype))
    backward = multiply_rows(dy, w, np.empty((len(x), product.inputs), x.dtype))
    return np.concatenate([forward, backward], axis=1)


def divisible(model: Predictor, sizes: Sequence[int], batch: tuple[Array, Array]) -> Plan:
    """Return in which steps rows of global batches, and of gradients, may be divided.

    Divisions over 2 to `leaves` ranks are tried, first with the finest grid.
    """
    layout = model.network.layout
    # Where sums of biases go, which nobody reads.
    model.network.write_gradients_to(np.zeros(layout.length, model.network.dtype))
    grid, tiled = next((way for way in WAYS if rows_divide(model, sizes, batch, *way)), (0, False))
    model.network.tile_small(grid if tiled else 0)
    grids = [GRIDS[1]] * len(products_of(layout))
    while odd := undivided(model, sizes, products_of(layout, grids)):
        for number in odd:
            grids[number] = next((g for g in GRIDS if g > grids[number]), 0)
    return Plan(not grid, grid or 1, tiled, tuple(grids))


def rows_divide(
    model: Predictor, sizes: Sequence[int], batch: tuple[Array, Array], grid: int, tiled: bool
) -> bool:
    """Return whether each rank's rows, passed alone, give the bits that they have in the batch."""
    leaves = model.settings.reproducibility.leaves
    model.network.tile_small(grid if tiled else 0)
    if grid > max(sizes[0] // 2, 1):
        # One rank would have nearly all rows.
        return False
    for rows in sizes:
        kept = products_in(model, batch[0][:rows], batch[1][:rows])
        operands = [(p, *dense(model.network, p, rows)) for p in products_of(model.network.layout)]
        edges_of = (Leaves(0, n, leaves, False, grid).edges(rows) for n in range(2, leaves + 1))
        for low, high in sorted({part for cuts in edges_of for part in pairwise(cuts)}):
            model.comm.phase("probing the arithmetic")
            found = products_in(model, batch[0][low:high], batch[1][low:high], low)
            pairs = zip(found, kept, strict=True)
            if not all(np.array_equal(part, every[low:high]) for part, every in pairs):
                return False
            for product, x, w, dy, whole in operands:
                part = rows_of(model.network, product, x[low:high], w, dy[low:high])
                if not np.array_equal(part, whole[low:high]):
                    return False
    return True


def undivided(model: Predictor, sizes: Sequence[int], products: Sequence[Product]) -> list[int]:
    """Return the numbers of the products whose rows have other bits when ranks divide them."""
    network, length = model.network, model.network.layout.length
    odd = set()
    for rows in sizes:
        full, part = np.zeros(length, network.dtype), np.zeros(length, network.dtype)
        pairs = []
        for product in products:
            a, _, d, _ = dense(network, product, rows)
            pairs.append((product, d, a))
            multiply(product, d, a, full, 0, product.units)
        for size in range(2, model.settings.reproducibility.leaves + 1):
            model.comm.phase("probing the arithmetic")
            for begin, end in pairwise(edges(products, length, size)):
                for number, (product, d, a) in enumerate(pairs):
                    multiply(product, d, a, part, *product.rows(begin, end))
                    at = slice(*product.span(begin, end))
                    if not np.array_equal(part[at], full[at]):
                        odd.add(number)
    return sorted(odd)
