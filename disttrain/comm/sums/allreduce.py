"""The sum by MPI's collectives: one `Allreduce`, or an `Iallreduce` for each finished bucket."""

from __future__ import annotations

from mpi4py import MPI

from disttrain.comm.sums.base import Sum, Vector

__all__ = ["Allreduce", "Buckets"]

# Elements of one call: a larger count does not fit MPI-3's int.
LARGEST = 1 << 28


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
        for low in range(0, len(self.message), LARGEST):
            self._comm.Allreduce(MPI.IN_PLACE, self.message[low : low + LARGEST])
        header.Wait()


class Buckets(InPlace):
    """An `Iallreduce` for each bucket as soon as it is complete.

    Buckets end at `cuts` and are sent in the same order on every rank, all of them in every step.
    """

    way = "buckets"

    def __init__(self, comm: MPI.Comm, message: Vector, header: Vector) -> None:
        super().__init__(comm, message, header)
        self._sent = 0
        self._requests: list[MPI.Request] = []

    def start(self, end: int) -> None:
        """Send the buckets that are complete; the processor goes on with the backward pass."""
        for cut in (*self.cuts, len(self.message)):
            if self._sent < cut <= end:
                for low in range(self._sent, cut, LARGEST):
                    part = self.message[low : min(low + LARGEST, cut)]
                    self._requests.append(self._comm.Iallreduce(MPI.IN_PLACE, part))
                self._sent = cut

    def finish(self) -> None:
        """Send what has not left yet, the header last, and wait for all of it."""
        self.start(len(self.message))
        self._requests.append(self._start_header())
        MPI.Request.Waitall(self._requests)
        self._requests.clear()
        self._sent = 0
