"""Exact mode's assumptions, tested before the first step on the shapes of the run.

One is that the same pass gives the same bits again, here and on every rank. The other, for products
over the whole batch, is that the bits of a row do not depend on the other rows of the product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from disttrain.arrays import Array, generator
from disttrain.data import Leaves
from disttrain.model import Pass
from disttrain.model.passes import times
from disttrain.model.products import Product, edges, multipliable, multiply, products_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.exact.trials import draws
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import Plan

__all__ = ["Probe", "synthetic"]

# Matrix products are made of tiles: OpenBLAS's kernels for AVX2 treat 12 rows of a result alike and
# the rest in another way, so that only divisions at multiples of 12 rows give the same bits; those
# for AVX-512 allow any from four rows on.
GRIDS = (4, 12, 24, 48, 96)
# How rows may be divided, the cheapest first: the grid, and whether small products are tiled by it.
WAYS = ((1, False), (12, False), (12, True), (24, False), (24, True), (48, False), (48, True))


def synthetic(model: Predictor, rows: int, classes: int, outputs: int) -> tuple[Array, Array]:
    """Return random inputs and targets, the same on every rank."""
    draw, network = generator(model.settings.seed, "probe"), model.network
    dtype, device = np.dtype(network.dtype), network.device
    inputs = device.put(draw.random((rows, *network.shapes[0]), dtype))
    if classes:
        return inputs, device.put(draw.integers(0, classes, rows))
    return inputs, device.put(draw.random((rows, outputs), dtype))


def operands(product: Product, rows: int, dtype: str) -> tuple[Array, Array, Array]:
    """Return inputs, weight and gradients of a layer for so many rows, the same on every rank.

    They are those of `Probe.digest`; trials take `draws`.
    """
    draw = generator(1, "dense probe", product.layer, rows)
    shapes = (rows, product.inputs), (product.units, product.inputs), (rows, product.units)
    x, w, dy = (draw.standard_normal(shape, np.float32).astype(dtype) for shape in shapes)
    return x, w, dy


class Probe:
    """Passes of `rows` random samples through the network of a run, as in training.

    `tile` and `first_row` are those of the last pass. `digest` uses them as they are, because the
    digests in checkpoints were computed so.
    """

    def __init__(self, model: Predictor, rows: int, classes: int, outputs: int) -> None:
        self._model, self._network = model, model.network
        self._inputs, self._targets = synthetic(model, rows, classes, outputs)
        network, layout = model.network, model.network.layout
        self._vector = network.device.put(np.zeros(layout.length, network.dtype))
        self._gradients = layout.views(self._vector)
        self.tile = self.first_row = 0
        # Which rows of each gradient have the same bits alone.
        self._tried: dict[int, set[tuple[int, int]]] = {}

    def _pass(self, rows: slice, take: Callable[[int, Array, Array], None] | None = None) -> Array:
        """Send rows forward and back; return the outputs."""
        pass_ = Pass(True, 0, self.first_row, self._gradients, take=take, tile=self.tile)
        outputs, backward = self._network.forward(self._inputs[rows], pass_)
        found = outputs.copy()
        loss, context = self._model.loss, self._model.loss_context
        _, loss_gradient = loss.forward(outputs, self._targets[rows], context)
        backward(loss_gradient())
        return found

    def products(self, low: int, high: int) -> list[Array]:
        """Return the factors of the weight gradients of rows `low..high-1`, and the outputs.

        The factors are, for each weight, the gradients of its layer's outputs and the inputs.
        """
        taken: list[Array] = []
        self.first_row = low
        outputs = self._pass(
            slice(low, high), lambda layer, dy, x: taken.extend((dy.copy(), x.copy()))
        )
        return [*taken, outputs]

    def digest(self, passes: Sequence[int]) -> str:
        """Return the digest of outputs and gradients of the first rows, and of a block's outputs.

        `passes` are the numbers of rows that go through the network at once in training: kernels
        treat a single row, or the rows that are left over, in ways of their own.
        """
        network, device = self._network, self._network.device
        sha = hashlib.sha256()
        for rows in passes:
            sha.update(np.ascontiguousarray(device.get(self._pass(slice(rows)))).data)
            sha.update(device.get(self._vector).data)
        block = network.predict(self._inputs[:BLOCK_ROWS])
        sha.update(np.ascontiguousarray(device.get(block)).data)
        if device.kind == "cpu" and multipliable(network.layout):
            for product in products_of(network.layout):
                for rows in passes:
                    x, _, dy, found = self._dense(product, rows)
                    sha.update(np.ascontiguousarray(np.dot(dy.T, x)).data)
                    sha.update(found.data)
        return sha.hexdigest()

    def _dense(self, product: Product, rows: int) -> tuple[Array, Array, Array, Array]:
        """Return `x`, `W`, `dy` of a layer for so many rows, without zeros, and `x Wᵀ | dy W`.

        The zeros in a network's activations (ReLU) could hide a difference in rounding that other
        weights would show.
        """
        x, w, dy = operands(product, rows, self._network.dtype)
        return x, w, dy, self._rows_of(x, w, dy)

    def _rows_of(self, x: Array, w: Array, dy: Array) -> Array:
        """Return `x Wᵀ` and `dy W` side by side, as a layer computes them."""
        forward = times(np.dot, x, w.T, np.empty((len(x), len(w)), x.dtype), self.tile)
        backward = times(np.dot, dy, w, np.empty(x.shape, x.dtype), self.tile)
        return np.concatenate([forward, backward], axis=1)

    def divisible(self, sizes: Sequence[int]) -> Plan:
        """Return at which multiples rows of global batches, and of gradients, may be divided.

        Divisions over 2 to `leaves` ranks (of gradients: to all ranks where these are more) are
        tried, first with the finest grid.
        """
        layout = self._network.layout
        grid, tiled = next((way for way in WAYS if self._rows_divide(sizes, *way)), (0, False))
        self.tile = grid if tiled else 0
        grids = [GRIDS[0]] * len(products_of(layout))
        while odd := self._undivided(sizes, products_of(layout, grids)):
            for number in odd:
                grids[number] = next((g for g in GRIDS if g > grids[number]), 0)
        return Plan(not grid, grid or 1, tiled, tuple(grids))

    def _rows_divide(self, sizes: Sequence[int], grid: int, tiled: bool) -> bool:
        """Return whether each rank's rows, passed alone, have the same bits as in the batch."""
        leaves, network = self._model.settings.reproducibility.leaves, self._network
        self.tile = grid if tiled else 0
        if grid > max(sizes[0] // 2, 1):
            # One rank would get nearly all rows.
            return False
        for rows in sizes:
            edges_of = (Leaves(0, n, leaves, False, grid).edges(rows) for n in range(2, leaves + 1))
            parts = sorted({part for cuts in edges_of for part in pairwise(cuts)})
            whole = self.products(0, rows)
            for low, high in parts:
                self._model.comm.phase("probing the arithmetic")
                pairs = zip(self.products(low, high), whole, strict=True)
                if not all(np.array_equal(part, every[low:high]) for part, every in pairs):
                    return False
            for product in products_of(network.layout):
                for x, w, dy in draws(product, rows, network.dtype, len(parts)):
                    self._model.comm.phase("probing the arithmetic")
                    every = self._rows_of(x, w, dy)
                    for low, high in parts:
                        part = self._rows_of(x[low:high], w, dy[low:high])
                        if not np.array_equal(part, every[low:high]):
                            return False
        return True

    def _undivided(self, sizes: Sequence[int], products: Sequence[Product]) -> list[int]:
        """Return the numbers of the products whose rows have other bits when ranks divide them."""
        odd = []
        for number, (product, cuts) in enumerate(zip(products, self._cuts(products), strict=True)):
            if any(self._differs(product, rows, cuts) for rows in sizes if cuts):
                odd.append(number)
            else:
                self._tried.setdefault(number, set()).update(cuts)
        return odd

    def _cuts(self, products: Sequence[Product]) -> list[list[tuple[int, int]]]:
        """Return which rows of each gradient a rank may have, of those that are yet to be tried.

        The ranks are as many as there are leaves or ranks, or fewer: some may be lost.
        """
        length, found = self._network.layout.length, [set[tuple[int, int]]() for _ in products]
        most = max(self._model.settings.reproducibility.leaves, self._model.comm.size)
        for size in range(2, most + 1):
            for part in pairwise(edges(products, length, size)):
                for cuts, product in zip(found, products, strict=True):
                    low, high = product.rows(*part)
                    if 0 < high - low < product.units:
                        cuts.add((low, high))
        return [sorted(cuts - self._tried.get(n, set())) for n, cuts in enumerate(found)]

    def _differs(self, product: Product, rows: int, cuts: Sequence[tuple[int, int]]) -> bool:
        """Return whether some rows of a gradient have other bits than in the whole product."""
        network, length = self._network, self._network.layout.length
        full, part = np.zeros(length, network.dtype), np.zeros(length, network.dtype)
        for a, _, d in draws(product, rows, network.dtype, len(cuts)):
            self._model.comm.phase("probing the arithmetic")
            multiply(product, d, a, full, 0, product.units)
            for low, high in cuts:
                multiply(product, d, a, part, low, high)
                at = slice(product.low + low * product.inputs, product.low + high * product.inputs)
                if not np.array_equal(part[at], full[at]):
                    return True
        return False
