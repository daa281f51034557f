"""The communicator over MPI."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, NoReturn, TypeVar

import mpi4py

# Only the main thread talks to MPI; a lower thread level saves its locks.
mpi4py.rc.thread_level = "funneled"
# Open MPI 5 without InfiniBand prints an error for each shared window while it tries its UCX
# component, which a window inside a node never uses.
os.environ.setdefault("OMPI_MCA_osc", "^ucx")

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

from disttrain.comm.communicator import Communicator  # noqa: E402
from disttrain.comm.sums.base import Sum  # noqa: E402
from disttrain.comm.sums.choose import summation  # noqa: E402
from disttrain.comm.sums.window import room, shared_array  # noqa: E402
from disttrain.comm.watch import BOARD, Watch  # noqa: E402

__all__ = ["Ranks", "library", "world_size"]

T = TypeVar("T")
# One broadcast's count must fit MPI-3's int.
PIECE = 1 << 30


def world_size() -> int:
    """Return how many ranks MPI itself counts."""
    return int(MPI.COMM_WORLD.size)


def library() -> str:
    """Return the first line of the MPI library's own name and version."""
    return MPI.Get_library_version().splitlines()[0].split(",")[0].strip("\0 ")


class Ranks(Communicator):
    """All ranks of the job, on a communicator of their own."""

    def __init__(self) -> None:
        self._comm: MPI.Comm = MPI.COMM_WORLD.Dup()
        self._node: MPI.Comm = self._comm.Split_type(MPI.COMM_TYPE_SHARED, self._comm.rank)
        self._windows: list[MPI.Win] = []
        self.rank, self.size = self._comm.rank, self._comm.size
        # The launcher's own local rank can differ from this order; both number a node's ranks.
        self.local_rank, self.local_size = self._node.rank, self._node.size
        self.host = socket.gethostname()
        self.hosts = sorted(set(self._comm.allgather(self.host)))
        self.library = library()
        board = self.node_array((self.local_size,), BOARD)
        board[self.local_rank] = (self.rank, 0.0, b"starting")
        self._node.Barrier()
        self.watch = Watch(self.rank, self.host, board)

    @property
    def shared_room(self) -> float:
        """Bytes that are free where shared windows live, with some left for MPI itself."""
        return room()

    def share(self, value: T | None = None) -> T:
        """Return rank 0's `value` on every rank."""
        return self._comm.bcast(value)  # type: ignore[no-any-return]

    def collect(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on every rank."""
        return self._comm.allgather(value)

    def broadcast(self, array: np.ndarray[Any, Any]) -> None:
        """Overwrite `array` (host memory, contiguous) with rank 0's."""
        raw = array.reshape(-1).view(np.uint8)
        for low in range(0, len(raw), PIECE):
            self._comm.Bcast(raw[low : low + PIECE])

    def barrier(self) -> None:
        """Return when every rank has called it."""
        self._comm.Barrier()

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Return an array that all ranks of this node share; it lives as long as this object."""
        array, window = shared_array(self._node, shape, np.dtype(dtype))
        self._windows.append(window)
        return array

    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        """Return the sum over ranks by the named way, or by the fastest."""
        return summation(self._comm, self._node, length, np.dtype(dtype), header, way)

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once, from one of them, with `code`. Not collective."""
        sys.stdout.flush()
        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(code)
        raise SystemExit(code)
