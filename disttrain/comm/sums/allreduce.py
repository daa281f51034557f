"""The sum by MPI's collectives: one `Allreduce`, or an `Iallreduce` for each finished bucket."""

from __future__ import annotations

from mpi4py import MPI

from disttrain.comm.sums.base import Sum, Vector

__all__ = ["Allreduce", "Buckets"]

# A count beyond this does not fit MPI-3's int; also keeps one call's temporary buffers small.
PIECE = 1 << 28


class InPlace(Sum):
    """A sum that leaves the total where the message was; the header travels beside it."""

    def __init__(self, comm: MPI.Comm, message: Vector, header: Vector) -> None:
        self._comm = comm
        self.message = self.total = message
        self.header = self.total_header = header

    def _start_header(self) -> MPI.Request:
        """Start the header's own small sum: float64, whatever the dtype of the message."""
        return self._comm.Iallreduce(MPI.IN_PLACE, self.header)


class Allreduce(InPlace):
    """One `Allreduce` of the whole message at the end of the backward pass."""

    way = "allreduce"

    def finish(self) -> None:
        """Add everything now."""
        header = self._start_header()
        for low in range(0, len(self.message), PIECE):
            self._comm.Allreduce(MPI.IN_PLACE, self.message[low : low + PIECE])
        header.Wait()


class Buckets(InPlace):
    """An `Iallreduce` for each piece as soon as it is complete.

    The pieces leave in the same order on every rank, and all of them leave in every step.
    """

    way = "buckets"

    def __init__(self, comm: MPI.Comm, message: Vector, header: Vector) -> None:
        super().__init__(comm, message, header)
        self._sent = 0
        self._requests: list[MPI.Request] = []

    def start(self, low: int, high: int) -> None:
        """Send `message[low:high]`; the processor goes on with the backward pass."""
        for first in range(low, high, PIECE):
            piece = self.message[first : min(first + PIECE, high)]
            self._requests.append(self._comm.Iallreduce(MPI.IN_PLACE, piece))
        self._sent = high

    def finish(self) -> None:
        """Send what has not left yet, the header last, and wait for all of it."""
        if self._sent < len(self.message):
            self.start(self._sent, len(self.message))
        self._requests.append(self._start_header())
        MPI.Request.Waitall(self._requests)
        self._requests.clear()
        self._sent = 0
