"""Fast mode: each rank computes the gradients of its share; they are added in the fastest way."""

from __future__ import annotations

from typing import Any

from disttrain.arrays import Array
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Piece
from disttrain.model import Network, Pass
from disttrain.model.flat import Layout
from disttrain.training.reducers.base import Reducer, Tally, Totals, wait_for

__all__ = ["ShareReducer"]

MIB = 1 << 20


class ShareReducer(Reducer):
    """Passes write straight into the message (on a GPU into its mirror), which leaves in buckets.

    The gradients of a share in several parts are added first, in the order of the parts.
    """

    def __init__(self, comm: Communicator, network: Network, settings: Settings) -> None:
        self._comm, self._left, self.tally = comm, 0, Tally(1)
        self._device = network.device
        how, dtype, layout = settings.communication, settings.model.dtype, network.layout
        self.sum = comm.summation(layout.length, dtype, self.tally.length, how.sum)
        least = int(how.bucket_mib * MIB) // self.sum.message.itemsize
        self.sum.cuts = buckets(layout, least)
        self._out = network.device.mirror(self.sum.message)
        in_place = self.sum.total is self.sum.message
        self._back = self._out if in_place else network.device.mirror(self.sum.total)
        self._parts: Array | None = None
        self._gradients = layout.views(self._out.array)
        self.way = self.sum.way

    @property
    def totals(self) -> Array:
        """The sums over all ranks, after `sum_gradients`."""
        return self._back.array

    @property
    def sent(self) -> Array:
        """The vector on the device that passes write to, of which the message is the mirror."""
        return self._out.array

    def open(self, step: int, piece: Piece) -> Pass:
        """Return the pass; if the share is one part, buckets are sent during the backward pass."""
        if piece.alone:
            return Pass(True, step, piece.low, self._gradients, self._on_ready)
        return Pass(True, step, piece.low, self._gradients)

    def _on_ready(self, end: int) -> None:
        if end in self.sum.cuts and self.way != "none":
            self._out.leave(self._left, end)
            self._left = end
            if self._out.array is self._out.host:
                self.sum.start(end)

    def add(self, piece: Piece, loss: Array, right: Any) -> None:
        """Take in one part of the share."""
        self.tally.add(0, self._device.total(loss), right, piece.high - piece.low)
        if piece.alone:
            return
        if piece.first or self._parts is None:
            self._parts = self._out.array.copy()
        else:
            self._parts += self._out.array

    def sum_gradients(self, rows: int, failed: bool, stop: bool) -> Totals:
        """Send what has not left yet, with the header, and return the header's sum."""
        if self._parts is not None:
            self._out.array[:] = self._parts
            self._parts = None
        if failed:
            self.sum.message[self._left :] = 0
        elif self.way != "none":
            self._out.leave(self._left, len(self.sum.message))
        self.tally.write(self.sum.header, failed, stop)
        wait_for([self._out, self._back], failed)
        self._left = 0
        self._comm.phase("waiting for the sum of gradients")
        self.sum.finish()
        if self.way != "none" and not failed:
            self._back.arrive()
        return self.tally.read(self.sum.total_header)


def buckets(layout: Layout, least: int) -> list[int]:
    """Return where the buckets end: after layers, once `least` elements have come together."""
    cuts: list[int] = []
    for end in reversed(layout.ready):
        if end - (cuts[-1] if cuts else 0) >= max(least, 1):
            cuts.append(end)
    return cuts
