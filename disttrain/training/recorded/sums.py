"""Noting what a reducer does with each piece of a step, and its sum over ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np

from disttrain.arrays.recording import NotRecordable, Program
from disttrain.data import Piece
from disttrain.model import Pass
from disttrain.model.products import Product
from disttrain.training.reducers import LeafReducer, ProductReducer, Reducer, ShareReducer

__all__ = ["NOTES", "Notes"]

Array = np.ndarray[Any, Any]


class Notes(ABC):
    """Notes the work of one reducer in a program: the mirror of its `open`, `add`, `sum_gradients`.

    `header` is this rank's, `total` that of all ranks, after `sum`.
    """

    header: Array
    total: Array

    def __init__(self, program: Program, reducer: Any) -> None:
        self._program, self._reducer = program, reducer

    def open(self, piece: Piece) -> Pass:
        """Return the pass for a piece."""
        return self._reducer.open(0, piece)  # type: ignore[no-any-return]

    @abstractmethod
    def add(self, piece: Piece, losses: Array) -> None:
        """Note what follows the backward pass of a piece."""

    def sum(self, rows: int) -> None:  # noqa: B027 - a rank alone may have the sum already
        """Note the sum over ranks of a global batch of `rows`."""


class ShareNotes(Notes):
    """Notes `ShareReducer`."""

    _reducer: ShareReducer

    def __init__(self, program: Program, reducer: ShareReducer) -> None:
        super().__init__(program, reducer)
        if reducer.way != "none":
            raise NotRecordable("the sum over ranks is not recorded")
        self.header, self.total = reducer.sum.header, reducer.sum.total_header

    def open(self, piece: Piece) -> Pass:
        """Return the pass."""
        if not piece.alone:
            raise NotRecordable("the batch is cut into pieces")
        return super().open(piece)

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses."""
        self._program.tally_loss(self.header, 0, losses)


class LeafNotes(Notes):
    """Notes `LeafReducer`."""

    _reducer: LeafReducer

    def __init__(self, program: Program, reducer: LeafReducer) -> None:
        super().__init__(program, reducer)
        if reducer.way != "none":
            raise NotRecordable("the sum over ranks is not recorded")
        self.header, self.total = reducer.sum.header, reducer.sum.total_header

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses of a leaf, and the additions that follow it."""
        if not (piece.first and piece.last):
            raise NotRecordable("a leaf is cut into pieces")
        self._program.tally_loss(self.header, piece.unit, losses)
        vectors = self._reducer.vectors
        for to, other in self._reducer.plan(piece)[1]:
            self._program.add(vectors[to], vectors[other])


class ProductNotes(Notes):
    """Notes `ProductReducer`."""

    _reducer: ProductReducer

    def __init__(self, program: Program, reducer: ProductReducer) -> None:
        super().__init__(program, reducer)
        if reducer.way != "none":
            raise NotRecordable("the sum over ranks is not recorded")
        self.header = self.total = reducer.headers[0]

    def open(self, piece: Piece) -> Pass:
        """Return the pass."""
        return super().open(piece)._replace(take=partial(self._keep, piece))

    def _keep(self, piece: Piece, layer: int, dy: Array, x: Array) -> None:
        reducer, program = self._reducer, self._program
        product = reducer.of_layer[layer]
        if reducer.at_once:
            self._multiply(product, dy, x, 0, product.units)
            program.sum_rows(dy, reducer.bias(product))
            return
        inputs, gradients = reducer.factors(product)
        program.copy(inputs[piece.low : piece.high], x)
        program.copy(gradients[piece.low : piece.high], dy)

    def _multiply(self, product: Product, d: Array, a: Array, low: int, high: int) -> None:
        begin = product.low + low * product.inputs
        out = self._reducer.totals[begin : begin + (high - low) * product.inputs]
        rows = out.reshape(high - low, product.inputs)
        self._program.product(d[:, low:high].T, a, rows)

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses, leaf by leaf."""
        for leaf, low, high in self._reducer.leaves_of(piece):
            self._program.tally_loss(self.header, leaf, losses[low:high])

    def sum(self, rows: int) -> None:
        """Note the products of this rank's rows."""
        reducer = self._reducer
        if reducer.at_once:
            return
        low, high = reducer.owned
        for product in reducer.products:
            inputs, gradients = (array[:rows] for array in reducer.factors(product))
            first, end = product.rows(low, high)
            if first < end:
                self._multiply(product, gradients, inputs, first, end)
            if high == len(reducer.totals):
                self._program.sum_rows(gradients, reducer.bias(product))


NOTES: dict[type[Reducer], type[Notes]] = {
    ShareReducer: ShareNotes, LeafReducer: LeafNotes, ProductReducer: ProductNotes,
}  # fmt: skip
