"""Exact mode, dense layers: every gradient is one product over the whole global batch.

Ranks exchange the factors of the products: the inputs of layers and the gradients of their outputs.
Each rank then computes the rows of `dW` that it owns, over all samples, and sends them to all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays import Array
from disttrain.comm import Communicator
from disttrain.data import Leaves, Piece
from disttrain.errors import UsageError
from disttrain.model import Dense, Flatten, Network, Pass
from disttrain.model.products import Product, edges, multiply, products_of
from disttrain.training.reducers.base import Reducer, Tally, Totals

__all__ = ["Plan", "ProductReducer", "written"]


class Plan(NamedTuple):
    """What may be divided without changing bits; it depends on shapes and the BLAS, not on ranks.

    With `alone` each leaf goes through the network alone; else all rows of a rank go together, and
    a rank's rows begin at a multiple of `grid`. Where `tiled`, small products are computed in tiles
    of `grid` rows on every rank. `grids` are the multiples for the rows of each weight's gradient,
    in the order of the flat vector; 0: one rank computes all rows.
    """

    alone: bool
    grid: int
    tiled: bool
    grids: tuple[int, ...]

    @property
    def tile(self) -> int:
        """Rows in one call of a small product; 0: all."""
        return self.grid if self.tiled else 0


class ProductReducer(Reducer):
    """Shares inputs and gradients of layers for all rows of a batch, then rows of `dW`.

    A single rank has all rows, shares nothing and multiplies during the backward pass.
    """

    def __init__(
        self,
        comm: Communicator,
        network: Network,
        division: Leaves,
        sizes: Sequence[int],
        plan: Plan,
    ) -> None:
        self._comm, self.division = comm, division
        self.tally = Tally(division.leaves)
        self.products = products_of(network.layout, plan.grids)
        self.of_layer = {product.layer: product for product in self.products}
        length, dtype = network.layout.length, network.dtype
        # The dense layers of disttrain's own; how many of the first layers only flatten.
        kinds = [type(layer) for layer in network.layers]
        self._dense = {number for number, kind in enumerate(kinds) if kind is Dense}
        self._flat = next((n for n, kind in enumerate(kinds) if kind is not Flatten), 0)
        self.cuts = edges(self.products, length, comm.size)
        # Scratch for bias gradients; the real ones come from `_multiply_owned`.
        # Only these are written, so that the rest of it takes no memory.
        self._scratch = network.layout.views(np.empty(length, dtype))
        self._tile = plan.tile
        shapes = [(sizes[0], width) for p in self.products for width in (p.inputs, p.units)]
        self.at_once = comm.size == 1 and not plan.alone
        self.rows = None if self.at_once else comm.all_gather(shapes, [dtype] * len(shapes))
        self.sums = comm.all_gather([(length,), (comm.size, self.tally.length)], [dtype, "f8"])
        self.way = "none" if comm.size == 1 else "products"

    @property
    def totals(self) -> Array:
        """The sums over all rows, after `sum_gradients`."""
        return self.sums.arrays[0]

    @property
    def headers(self) -> Array:
        """The headers of all ranks."""
        return self.sums.arrays[1]

    @property
    def header(self) -> Array:
        """The header of this rank."""
        return self.headers[self._comm.rank]

    @property
    def owned(self) -> tuple[int, int]:
        """The part of the flat vector that this rank computes."""
        rank = self._comm.rank
        return self.cuts[rank], self.cuts[rank + 1]

    def factors(self, product: Product) -> tuple[Array, Array]:
        """Return the inputs and the gradients of a layer, for all rows of the largest batch."""
        assert self.rows is not None
        at = 2 * self.products.index(product)
        return self.rows.arrays[at], self.rows.arrays[at + 1]

    def open(self, step: int, piece: Piece) -> Pass:
        """Return the pass; the gradients and inputs of its layers are kept for the products."""
        take = partial(self._keep, piece)
        return Pass(
            True, step, piece.low, self._scratch, take=take, tile=self._tile, tiles=self.tiles,
            arrays=self._shared(piece),
        )  # fmt: skip

    def _shared(self, piece: Piece) -> dict[tuple[int, str], Array]:
        """Return the shared memory that layers can write their part of a batch to themselves.

        That is what dense layers hand to each other: an output is the next one's input, and the
        gradient of that input is the gradient of the output.
        """
        found: dict[tuple[int, str], Array] = {}
        for product in self.products if self.rows is not None else ():
            inputs, gradients = (array[piece.low : piece.high] for array in self.factors(product))
            if {product.layer - 1, product.layer} <= self._dense:
                found[product.layer - 1, "output"] = inputs
            if {product.layer, product.layer + 1} <= self._dense:
                found[product.layer + 1, "input gradient"] = gradients
        return found

    def inputs(self, piece: Piece) -> Array | None:
        """Return the shared memory for the first layer's inputs; None where there is none.

        A layer that changes them, as dropout does, must not stand before it.
        """
        first = min(self.of_layer)
        if self.rows is None or first not in self._dense or first > self._flat:
            return None
        return self.factors(self.of_layer[first])[0][piece.low : piece.high]

    def _keep(self, piece: Piece, layer: int, dy: Array, x: Array) -> None:
        product = self.of_layer[layer]
        # Contiguous as in the shared arrays: then the product has the same bits.
        dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
        if self.at_once:
            multiply(product, dy, x, self.totals, 0, product.units)
            np.add.reduce(dy, axis=0, out=self.bias(product))
            return
        inputs, gradients = self.factors(product)
        for mine, there in ((x, inputs), (dy, gradients)):
            if not written(mine, there[piece.low : piece.high]):
                there[piece.low : piece.high] = mine

    def bias(self, product: Product) -> Array:
        """Return the sums of the gradients of a bias."""
        return self.totals[product.bias : product.bias + product.units]

    def add(self, piece: Piece, loss: Array, right: Any) -> None:
        """Add a part, its losses leaf by leaf."""
        if np.shape(loss) != (piece.high - piece.low,):
            raise UsageError(
                "the loss must return one number for each sample in exact mode, not their sum: "
                'return an array of shape (samples,), or use reproducibility.arithmetic = "leaves"'
            )
        for leaf, low, high in self.leaves_of(piece):
            self.tally.add(leaf, loss[low:high].sum(), 0, 0)
        self.tally.add(piece.unit, 0.0, right, piece.high - piece.low)

    def leaves_of(self, piece: Piece) -> Iterator[tuple[int, int, int]]:
        """Yield the leaves of a piece, and the range of its rows in each."""
        for leaf in range(piece.unit, self.division.count(piece.rows)):
            low, high = self.division.leaf(piece.rows, leaf)
            if low >= piece.high:
                break
            yield leaf, low - piece.low, high - piece.low

    def sum_gradients(self, rows: int, failed: bool, stop: bool) -> Totals:
        """Exchange factors, compute this rank's rows of `dW`, exchange these; return the totals."""
        comm, rank = self._comm, self._comm.rank
        if self.rows is not None:
            comm.phase("waiting for the rows of the batch")
            self.rows.complete([self.division.edges(rows)] * len(self.rows.arrays))
            comm.phase("gradients")
            self._multiply_owned(rows)
        headers = self.headers
        self.tally.write(headers[rank], failed, stop)
        comm.phase("waiting for the sum of gradients")
        self.sums.complete([self.cuts, range(comm.size + 1)])
        return self.tally.read(np.add.reduce(headers, axis=0))

    def _multiply_owned(self, rows: int) -> None:
        low, high = self.owned
        last = high == len(self.totals)
        with np.errstate(over="ignore", invalid="ignore"):
            for product in self.products:
                inputs, gradients = (array[:rows] for array in self.factors(product))
                first, end = product.rows(low, high)
                if first < end:
                    multiply(product, gradients, inputs, self.totals, first, end)
                if last:
                    np.add.reduce(gradients, axis=0, out=self.bias(product))


def written(mine: Array, there: Array) -> bool:
    """Return True where two arrays of one shape lie in the same memory: nothing is to be copied."""
    return bool(mine.ctypes.data == there.ctypes.data)
