"""Exact mode, dense layers: every gradient is one product over the whole global batch.

Ranks share what goes into the products, the inputs of layers and the gradients of their outputs;
each computes the rows of `dW` that it owns over all samples, and all get all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays import Array
from disttrain.comm import Communicator
from disttrain.data import Leaves, Place
from disttrain.errors import UsageError
from disttrain.model import Network, Pass
from disttrain.model.products import Product, edges, multiply, products_of
from disttrain.training.reducers.base import Reducer, Tally, Totals

__all__ = ["Plan", "ProductReducer"]


class Plan(NamedTuple):
    """What may be divided without changing bits: a fact about shapes and the BLAS, not about ranks.

    `alone` has each leaf go through the network alone; else all rows of a rank go together, and a
    rank's rows begin at a multiple of `grid`; where `tiled`, small products are made of so many
    rows each, wherever they are computed. `grids` are the same for the rows of each weight's
    gradient, in the order of the flat vector; 0 says that one rank computes all of them.
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

    Alone nothing is shared: a rank that has all rows multiplies them at once.
    """

    def __init__(
        self,
        comm: Communicator,
        network: Network,
        division: Leaves,
        sizes: Sequence[int],
        plan: Plan,
    ) -> None:
        self._comm, self._division = comm, division
        self._tally = Tally(division.leaves)
        self._products = products_of(network.layout, plan.grids)
        self._of_layer = {product.layer: product for product in self._products}
        length, dtype = network.layout.length, network.dtype
        self._cuts = edges(self._products, length, comm.size)
        # Scratch for bias gradients; the real ones come from `_multiply_owned`.
        self._scratch = network.layout.views(np.zeros(length, dtype))
        self._tile = plan.tile
        shapes = [(sizes[0], width) for p in self._products for width in (p.inputs, p.units)]
        self._at_once = comm.size == 1 and not plan.alone
        self._rows = None if self._at_once else comm.all_gather(shapes, [dtype] * len(shapes))
        self._sums = comm.all_gather([(length,), (comm.size, self._tally.length)], [dtype, "f8"])
        self.way = "none" if comm.size == 1 else "products"

    @property
    def totals(self) -> Array:
        """The sums over all rows, after `sum_gradients`."""
        return self._sums.arrays[0]

    def _arrays(self, product: Product) -> tuple[Array, Array]:
        """Return the inputs and the gradients of a layer, for all rows of the largest batch."""
        assert self._rows is not None
        at = 2 * self._products.index(product)
        return self._rows.arrays[at], self._rows.arrays[at + 1]

    def open(self, step: int, place: Place) -> Pass:
        """Return the pass; the gradients and inputs of its layers are kept for the products."""
        take = partial(self._keep, place)
        return Pass(True, step, place.low, self._scratch, take=take, tile=self._tile)

    def _keep(self, place: Place, layer: int, dy: Array, x: Array) -> None:
        product = self._of_layer[layer]
        # As in the shared arrays, whose rows are contiguous: the product has the same bits then.
        dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
        if self._at_once:
            multiply(product, dy, x, self.totals, 0, product.units)
            np.add.reduce(dy, axis=0, out=self._bias(product))
            return
        inputs, gradients = self._arrays(product)
        inputs[place.low : place.high] = x
        gradients[place.low : place.high] = dy

    def _bias(self, product: Product) -> Array:
        return self.totals[product.bias : product.bias + product.units]

    def add(self, place: Place, loss: Array, right: Any) -> None:
        """Take in a part: the losses leaf by leaf."""
        if np.shape(loss) != (place.high - place.low,):
            raise UsageError(
                "the loss must return one number for each sample in exact mode, not their sum: "
                'return an array of shape (samples,), or use reproducibility.arithmetic = "leaves"'
            )
        leaves, leaf = self._division.count(place.rows), place.unit
        while leaf < leaves:
            low, high = self._division.leaf(place.rows, leaf)
            if low >= place.high:
                break
            self._tally.add(leaf, loss[low - place.low : high - place.low].sum(), 0, 0)
            leaf += 1
        self._tally.add(place.unit, 0.0, right, place.high - place.low)

    def sum_gradients(self, rows: int, failed: bool, stop: bool) -> Totals:
        """Share rows, multiply what this rank owns, share that; return the header's sum."""
        comm, rank = self._comm, self._comm.rank
        if self._rows is not None:
            comm.phase("waiting for the rows of the batch")
            self._rows.complete([self._division.edges(rows)] * len(self._rows.arrays))
            comm.phase("gradients")
            self._multiply_owned(rows)
        headers = self._sums.arrays[1]
        self._tally.write(headers[rank], failed, stop)
        comm.phase("waiting for the sum of gradients")
        self._sums.complete([self._cuts, range(comm.size + 1)])
        return self._tally.read(np.add.reduce(headers, axis=0))

    def _multiply_owned(self, rows: int) -> None:
        rank = self._comm.rank
        low, high = self._cuts[rank], self._cuts[rank + 1]
        last = high == len(self.totals)
        with np.errstate(over="ignore", invalid="ignore"):
            for product in self._products:
                inputs, gradients = (array[:rows] for array in self._arrays(product))
                first, end = product.rows(low, high)
                if first < end:
                    multiply(product, gradients, inputs, self.totals, first, end)
                if last:
                    np.add.reduce(gradients, axis=0, out=self._bias(product))

    def close(self) -> None:
        """Give shared memory back. Collective."""
        if self._rows is not None:
            self._rows.close()
        self._sums.close()
