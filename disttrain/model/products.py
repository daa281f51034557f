"""The gradients of weights as products over a whole global batch, and which rank computes what.

`dW = Dᵀ A`, with the inputs `A` of a layer and the gradients `D` of its outputs for all samples: a
row of `dW` is one sum over the batch, inside one product, wherever it is computed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from disttrain.arrays import Array
from disttrain.model.flat import Layout

__all__ = ["Product", "edges", "multipliable", "multiply", "products_of", "read_in_place"]


@dataclass(frozen=True)
class Product:
    """The weight of layer number `layer`: `units` rows of `inputs`, from `low` in a flat vector.

    `bias` is where the bias begins. Ranks take rows in multiples of `grid`; 0 means that one rank
    takes all rows.
    """

    layer: int
    units: int
    inputs: int
    low: int
    bias: int
    grid: int = 1

    def rows(self, low: int, high: int) -> tuple[int, int]:
        """Return the range of rows that lie in `low..high-1` of the flat vector."""
        first, last = (min(max(at - self.low, 0) // self.inputs, self.units) for at in (low, high))
        return first, last

    def span(self, low: int, high: int) -> tuple[int, int]:
        """Return where these rows begin and end in the flat vector."""
        first, last = self.rows(low, high)
        return self.low + first * self.inputs, self.low + last * self.inputs


def products_of(layout: Layout, grids: Sequence[int] = ()) -> list[Product]:
    """Return the products in the order of the flat vector; `grids` are theirs in this order."""
    weights = [span for span in layout.spans if span.name == "weight"]
    biases = {span.layer: span.low for span in layout.spans if span.name == "bias"}
    grids = grids or [1] * len(weights)
    return [
        Product(span.layer, span.shape[0], span.shape[1], span.low, biases[span.layer], grid)
        for span, grid in zip(weights, grids, strict=True)
    ]


def multipliable(layout: Layout) -> bool:
    """Return True where every layer has a weight that decays and a bias that does not, or nothing.

    Gradients are then products and sums of columns, and biases lie behind all weights.
    """
    parts: dict[int, set[tuple[str, int, bool]]] = {}
    for span in layout.spans:
        fact = (span.name, len(span.shape), span.high <= layout.decayed)
        parts.setdefault(span.layer, set()).add(fact)
    return all(facts == {("weight", 2, True), ("bias", 1, False)} for facts in parts.values())


def edges(products: Sequence[Product], length: int, size: int) -> list[int]:
    """Return where each rank's part of the flat vector begins, and the end.

    Parts are as equal as possible and begin at a row that a weight's grid allows; the rows behind
    its last whole multiple stay with that: BLAS has another way for few rows. The last rank has the
    biases.
    """
    allowed = [0]
    for product in products:
        grid = product.grid or product.units
        rows = range(0, max(product.units - grid, 0) + 1, grid)
        allowed += [product.low + row * product.inputs for row in rows]
    end = products[-1].low + products[-1].units * products[-1].inputs if products else 0
    allowed.append(end)
    cuts = [0]
    for rank in range(1, size):
        wanted = end * rank // size
        above = bisect_left(allowed, wanted)
        nearest = min(allowed[max(above - 1, 0)], allowed[above], key=lambda at: abs(at - wanted))
        cuts.append(max(nearest, cuts[-1]))
    return [*cuts, length]


def multiply(product: Product, d: Array, a: Array, out: Array, low: int, high: int) -> None:
    """Write rows `low..high-1` of `dᵀ a` into their place in the flat vector `out`."""
    begin = product.low + low * product.inputs
    rows = out[begin : begin + (high - low) * product.inputs].reshape(high - low, product.inputs)
    part = d[:, low:high].T
    if read_in_place(part, a):
        with np.errstate(all="ignore"):
            np.matmul(part, a, out=rows)
    else:
        np.dot(part, a, out=rows)


def read_in_place(part: Array, a: Array) -> bool:
    """Return True where some rows `part` of a `dᵀ` are not copied before they are multiplied.

    `dot` would copy them; `matmul` lets BLAS read them where they lie, as it reads all of `dᵀ`.
    """
    whole = part.flags.c_contiguous or part.flags.f_contiguous
    return not whole and min(*part.shape, *a.shape) > 1
