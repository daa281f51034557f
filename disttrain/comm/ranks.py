"""The communicator over MPI."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

import mpi4py

from disttrain.comm.tuning import tune

# Only the main thread talks to MPI; a lower thread level saves its locks.
mpi4py.rc.thread_level = "funneled"
tune()

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

from disttrain.comm.communicator import Communicator  # noqa: E402
from disttrain.comm.mosaic import Mosaic  # noqa: E402
from disttrain.comm.sharing import mosaic  # noqa: E402
from disttrain.comm.sums.base import Held, LeafSum, Sum  # noqa: E402
from disttrain.comm.sums.choose import summation  # noqa: E402
from disttrain.comm.sums.leaves import leaf_summation  # noqa: E402
from disttrain.comm.sums.window import room, shared_array  # noqa: E402
from disttrain.comm.watch import BOARD, Watch  # noqa: E402
from disttrain.environment import leave_status  # noqa: E402
from disttrain.errors import UsageError  # noqa: E402

__all__ = ["Ranks", "library", "world_size"]

T = TypeVar("T")
# Bytes of one broadcast: a larger count does not fit MPI-3's int.
LARGEST = 1 << 30


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
        self._windows: dict[int, MPI.Win] = {}
        self.rank, self.size = self._comm.rank, self._comm.size
        # The launcher's own local rank can differ from this order; both number a node's ranks.
        self.local_rank, self.local_size = self._node.rank, self._node.size
        self.host = socket.gethostname()
        self.hosts = sorted(set(self._comm.allgather(self.host)))
        self.library = library()
        self._threads = self._cores_each()
        board = self.node_array((self.local_size,), BOARD)
        board[self.local_rank] = (self.rank, 0, 0.0, 0.0, 0.0, b"starting")
        self._node.Barrier()
        self.watch = Watch(self.rank, self.host, board)

    def _cores_each(self) -> int:
        """Return the cores of this rank: those it may use, shared with whoever may use them too."""
        if not hasattr(os, "sched_getaffinity"):
            return super().blas_threads
        mine = os.sched_getaffinity(0)
        sharing = [cores for cores in self._node.allgather(mine) if cores & mine]
        return max(1, len(mine) // len(sharing))

    @property
    def blas_threads(self) -> int:
        """BLAS threads for this rank: ranks that may use the same cores divide them."""
        return self._threads

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

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks on rank 0, an empty list elsewhere."""
        return self._comm.gather(value) or []

    def broadcast(self, array: np.ndarray[Any, Any]) -> None:
        """Overwrite `array` (host memory, contiguous) with rank 0's."""
        raw = array.reshape(-1).view(np.uint8)
        for low in range(0, len(raw), LARGEST):
            self._comm.Bcast(raw[low : low + LARGEST])

    def barrier(self) -> None:
        """Return when every rank has called it."""
        self._comm.Barrier()

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Return an array that all ranks of this node share, until `free_node_array`."""
        try:
            array, window = shared_array(self._node, shape, np.dtype(dtype))
        except MPI.Exception as error:
            raise UsageError(
                f"{self.host} grants no shared memory for an array of shape {shape} ({error}): "
                'make room in /dev/shm, or use data.memory = "stream"'
            ) from None
        self._windows[array.ctypes.data] = window
        return array

    def free_node_array(self, array: np.ndarray[Any, Any]) -> None:
        """Give an array of `node_array` back. Collective over the node."""
        self._windows.pop(array.ctypes.data).Free()

    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        """Return the sum over ranks by the named way, or by the fastest."""
        try:
            return summation(self._comm, self._node, length, np.dtype(dtype), header, way)
        except UsageError as error:
            # All ranks find the same; one of them shall say it.
            self.settle("choosing how to sum", error)
            raise

    def leaf_summation(
        self, held: Held, width: int, length: int, dtype: Any, header: int
    ) -> LeafSum:
        """Return the sum over leaves in the order of their tree."""
        return leaf_summation(self._comm, self._node, held, width, length, np.dtype(dtype), header)

    def mosaic(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> Mosaic:
        """Return arrays, filled with zeros, that all ranks fill together."""
        return mosaic(self._comm, self._node, shapes, dtypes)

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once, from one of them, with `code`. Not collective."""
        sys.stdout.flush()
        sys.stderr.flush()
        leave_status(code)
        MPI.COMM_WORLD.Abort(code)
        raise SystemExit(code)
