"""Where gradients meet the other ranks: the only communication of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from disttrain.arrays import Array, Device
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.model.flat import Layout

__all__ = ["Reducer", "Totals"]

MIB = 1 << 20


class Totals(NamedTuple):
    """The header of the message, summed over ranks: what a step did, and who wants what.

    `loss` is the summed loss of the global batch, `correct` its rightly classified samples,
    `samples` their number; `failures` and `stop` count the ranks that failed or were asked to stop.
    """

    loss: float = 0.0
    correct: float = 0.0
    samples: float = 0.0
    failures: float = 0.0
    stop: float = 0.0


class Reducer:
    """Sums gradients and header over ranks.

    The network writes its gradients straight into `gradients`, the message itself (on a GPU its
    mirror), and says through `on_ready` how far they are complete; `sum_gradients` completes the
    sum and leaves it in `totals`.
    """

    def __init__(
        self, comm: Communicator, device: Device, layout: Layout, settings: Settings
    ) -> None:
        self._comm, self._left = comm, 0
        how, dtype = settings.communication, settings.model.dtype
        self._sum = comm.summation(layout.length, dtype, len(Totals._fields), how.sum)
        least = int(how.bucket_mib * MIB) // self._sum.message.itemsize
        self._sum.cuts = buckets(layout, least)
        self._out = device.mirror(self._sum.message)
        in_place = self._sum.total is self._sum.message
        self._back = self._out if in_place else device.mirror(self._sum.total)
        self._pieces: Array | None = None

    @property
    def way(self) -> str:
        """How ranks are summed: "none", "window", "allreduce", ..."""
        return self._sum.way

    @property
    def gradients(self) -> Array:
        """Where backward passes write this rank's sums."""
        return self._out.array

    @property
    def totals(self) -> Array:
        """The sums over all ranks, after `sum_gradients`."""
        return self._back.array

    def on_ready(self, end: int) -> None:
        """Let `gradients[:end]`, complete now, leave in buckets."""
        if end in self._sum.cuts:
            self._out.leave(self._left, end)
            self._left = end
            if self._out.array is self._out.host:
                self._sum.start(end)

    def add_piece(self, first: bool) -> None:
        """Keep the gradients of one piece of a share; pieces are added in their order."""
        if first or self._pieces is None:
            self._pieces = self.gradients.copy()
        else:
            self._pieces += self.gradients

    def sum_gradients(self, mine: Sequence[Any], failed: bool, stop: bool) -> Totals:
        """Send what has not left yet, with the header, and return the header's sum.

        `mine` is this rank's loss, correct and samples: numbers, or scalars on the device. A rank
        that failed takes part like all others: with zeros, and `failures = 1`.
        """
        if self._pieces is not None:
            self.gradients[:] = self._pieces
            self._pieces = None
        if failed:
            self._sum.message[self._left :] = 0
        else:
            self._out.leave(self._left, len(self._sum.message))
        self._sum.header[:] = [*(float(number) for number in mine), failed, stop]
        self._out.wait()
        self._left = 0
        self._comm.phase("waiting for the sum of gradients")
        self._sum.finish()
        self._back.arrive()
        return Totals(*self._sum.total_header.tolist())

    def close(self) -> None:
        """Give shared memory back. Collective."""
        self._sum.close()


def buckets(layout: Layout, least: int) -> list[int]:
    """Return where the buckets end: after layers, once `least` elements have come together."""
    cuts: list[int] = []
    for end in reversed(layout.ready):
        if end - (cuts[-1] if cuts else 0) >= max(least, 1):
            cuts.append(end)
    return cuts
