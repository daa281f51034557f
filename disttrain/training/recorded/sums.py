"""Noting what a reducer does with each piece of a step, and its sum over ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays.recording import NotRecordable, Program
from disttrain.comm import Sum
from disttrain.comm.sums.tree import CHUNK, TOTAL
from disttrain.data import Piece
from disttrain.model import Pass
from disttrain.model.flat import Layout
from disttrain.model.products import Product, read_in_place
from disttrain.training.reducers import LeafReducer, ProductReducer, Reducer, ShareReducer
from disttrain.training.reducers.products import written

__all__ = ["NOTES", "Notes"]

Array = np.ndarray[Any, Any]
# Bytes of weights that stay in a processor's second cache from one leaf to the next. Where there
# are more, leaves go through the network side by side, of so many rows together.
CACHE, TOGETHER = 1 << 19, 128
SUM, ROWS = "waiting for the sum of gradients", "waiting for the rows of the batch"


class Stop(NamedTuple):
    """What is done where a replay has come back, in which phase; `again`: the call is repeated."""

    phase: str
    action: Callable[[], None]
    again: bool


class Notes(ABC):
    """Notes the work of one reducer in a program: the mirror of its `open`, `add`, `sum_gradients`.

    `header` is this rank's, `total` that of all ranks, after `sum`. `stops` are the calls at which
    the replay may come back: with the phase, what to do, and whether the call is then repeated.
    """

    header: Array
    total: Array
    # For a timeline: from which call on the time counts as what, and the phase of that.
    parts: list[tuple[int, str, str]]

    def __init__(self, program: Program, reducer: Any, layout: Layout) -> None:
        self._program, self._reducer, self._layout = program, reducer, layout
        kind: Any = type(getattr(reducer, "sum", None))
        finish = getattr(kind, "finish", None)
        if finish and finish.__qualname__ != f"{kind.__name__}.finish":
            raise NotRecordable("the sum over ranks was replaced by another function")
        self.stops: dict[int, Stop] = {}
        self.parts = []

    def part(self, word: str, phase: str) -> None:
        """Begin another part of the step: the calls that are noted from here on."""
        self.parts.append((self._program.length, word, phase))

    def wait(self, barrier: Any, phase: str) -> None:
        """Note that all ranks of the node wait for each other."""
        self.part("waiting", phase)
        if barrier.function:
            at = self._program.wait(barrier.function, barrier.state)
            self.stops[at] = Stop(phase, barrier.progress, True)
        else:
            self.stops[self._program.pause()] = Stop(phase, barrier.wait, False)
        self.part("sum", "sum of gradients")

    def call(self, function: Callable[[], None], phase: str) -> None:
        """Note a call from Python, of `function`."""
        self.stops[self._program.pause()] = Stop(phase, function, False)

    def gather(self, gather: Any, edges: Any, phase: str) -> None:
        """Note that every rank gets the rows that all have written."""
        if hasattr(gather, "barrier"):
            self.wait(gather.barrier, phase)
        elif self._reducer.way != "none":
            self.call(partial(gather.complete, edges), phase)

    def inputs(self, piece: Piece) -> Array | None:
        """Return memory for the inputs of all of this rank's rows, if there is some for them."""
        return None

    def open(self, piece: Piece) -> Pass:
        """Return the pass for a piece."""
        return self._reducer.open(0, piece)  # type: ignore[no-any-return]

    def side_by_side(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        """Return the pieces as groups whose passes are under way at once, layer by layer."""
        return [[piece] for piece in pieces]

    def layer_done(self, piece: Piece, layer: int) -> None:  # noqa: B027 - most do nothing
        """Note what follows where the backward pass of a piece has a layer's gradients."""

    @abstractmethod
    def add(self, piece: Piece, losses: Array) -> None:
        """Note what follows the backward pass of a piece."""

    def nothing(self) -> None:  # noqa: B027 - what this rank sends may be written already
        """Note the gradients of a rank that has no rows."""

    def sum(self, rows: int) -> None:  # noqa: B027 - a rank alone may have the sum already
        """Note the sum over ranks of a global batch of `rows`."""


class ShareNotes(Notes):
    """Notes `ShareReducer`: gradients of a share's first part are written to the message itself."""

    _reducer: ShareReducer

    def __init__(self, program: Program, reducer: ShareReducer, layout: Layout) -> None:
        super().__init__(program, reducer, layout)
        if type(reducer.sum).start is not Sum.start:
            raise NotRecordable("gradients are sent during the backward pass")
        self.header, self.total = reducer.sum.header, reducer.sum.total_header
        self._further: Array | None = None

    def open(self, piece: Piece) -> Pass:
        """Return the pass; parts behind the first one are added to the message."""
        if piece.first:
            return super().open(piece)
        if self._further is None:
            self._further = np.zeros_like(self._reducer.sum.message)
            self._views = self._layout.views(self._further)
        return super().open(piece)._replace(gradients=self._views)

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses, and the addition of a further part."""
        self._program.tally_loss(self.header, 0, losses)
        if not piece.first:
            assert self._further is not None
            self._program.add(self._reducer.sum.message, self._further)

    def nothing(self) -> None:
        """Note a message of zeros."""
        self._program.zero(self._reducer.sum.message)

    def sum(self, rows: int) -> None:
        """Note the sum in the window of the node; any other way is called from Python."""
        window: Any = self._reducer.sum
        if self._reducer.way == "none":
            return
        if self._reducer.way != "window":
            self.call(window.finish, SUM)
            return
        self.wait(window.barrier, SUM)
        self._program.sum_messages(window.total, window.messages, *window.slice)
        self._program.sum_headers(window.headers, self.total)
        self.wait(window.barrier, SUM)


class LeafNotes(Notes):
    """Notes `LeafReducer`."""

    _reducer: LeafReducer

    def __init__(self, program: Program, reducer: LeafReducer, layout: Layout) -> None:
        super().__init__(program, reducer, layout)
        self.header, self.total = reducer.sum.header, reducer.sum.total_header

    def side_by_side(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        """Return groups of leaves: a layer's weights are read from memory once a group."""
        many = self._reducer.vectors[0].nbytes > CACHE
        most = TOGETHER if many and all(p.first and p.last for p in pieces) else 0
        groups: list[Sequence[Piece]] = []
        for piece in pieces:
            if groups and piece.high - groups[-1][0].low <= most:
                groups[-1] = [*groups[-1], piece]
            else:
                groups.append([piece])
        return groups

    def layer_done(self, piece: Piece, layer: int) -> None:
        """Note the additions that follow a leaf, of this layer: its gradients are in the cache."""
        views, (number, additions) = self._reducer.gradients, self._reducer.plan(piece)
        # A further part of a leaf has the last vector, and is added to the leaf's own.
        parts = [] if piece.first else [(number, -1)]
        for to, other in [*parts, *(additions if piece.last else ())]:
            for name, sums in views[to][layer].items():
                self._program.add(sums, views[other][layer][name])

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses of a leaf, or of a part of it."""
        self._program.tally_loss(self.header, piece.unit, losses)

    def sum(self, rows: int) -> None:
        """Note the tree over all ranks in the window of the node; else it is called from Python."""
        window: Any = self._reducer.sum
        leaves = self._reducer.division.count(rows)
        if self._reducer.way == "none":
            return
        if self._reducer.way != "tree+window":
            self.call(partial(window.finish, leaves), SUM)
            return
        self.wait(window.barrier, SUM)
        begin, end = window.slice
        for low in range(begin, end, CHUNK):
            part = slice(low, min(low + CHUNK, end))
            for to, a, b in window.program(leaves):
                out = window.total[part] if to == TOTAL else window.rows[to, part]
                if a == b:
                    self._program.copy(out, window.rows[a, part])
                else:
                    self._program.add_two(out, window.rows[a, part], window.rows[b, part])
        self._program.sum_headers(window.headers, self.total)
        self.wait(window.barrier, SUM)


class ProductNotes(Notes):
    """Notes `ProductReducer`."""

    _reducer: ProductReducer

    def __init__(self, program: Program, reducer: ProductReducer, layout: Layout) -> None:
        super().__init__(program, reducer, layout)
        # Other ranks may still read the one in shared memory when the next step begins.
        length = reducer.headers.shape[1]
        self.header, self.total = np.zeros(length), np.zeros(length)

    def inputs(self, piece: Piece) -> Array | None:
        """Return the shared memory for them: then they are not copied there."""
        return self._reducer.inputs(piece)

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
        for mine, there in ((x, inputs), (dy, gradients)):
            if not written(mine, there[piece.low : piece.high]):
                program.copy(there[piece.low : piece.high], mine)

    def _multiply(self, product: Product, d: Array, a: Array, low: int, high: int) -> None:
        begin = product.low + low * product.inputs
        out = self._reducer.totals[begin : begin + (high - low) * product.inputs]
        rows = out.reshape(high - low, product.inputs)
        part = d[:, low:high].T
        self._program.product(part, a, rows, read_in_place(part, a))

    def add(self, piece: Piece, losses: Array) -> None:
        """Note the losses, leaf by leaf."""
        for leaf, low, high in self._reducer.leaves_of(piece):
            self._program.tally_loss(self.header, leaf, losses[low:high])

    def sum(self, rows: int) -> None:
        """Note the exchange of factors, the products of this rank's rows, and their exchange."""
        reducer = self._reducer
        if reducer.rows is not None:
            edges = [reducer.division.edges(rows)] * len(reducer.rows.arrays)
            self.gather(reducer.rows, edges, ROWS)
            self.part("compute", "gradients")
            self._multiply_owned(rows)
        self._program.copy(reducer.header, self.header)
        self.gather(reducer.sums, [reducer.cuts, range(len(reducer.headers) + 1)], SUM)
        self._program.sum_headers(reducer.headers, self.total)

    def _multiply_owned(self, rows: int) -> None:
        reducer = self._reducer
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
