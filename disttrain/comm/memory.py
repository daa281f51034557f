"""Memory that the ranks of one node share: MPI windows, and their release."""

from __future__ import annotations

import os

import numpy as np
from mpi4py import MPI

__all__ = ["PAGE", "SharedMemory"]

# Bytes: arrays, and the ranks' parts of an array, begin at a page of their own.
PAGE = 4096
# Where Open MPI and MPICH keep shared windows, and what they take there for their own messages.
PLACE = "/dev/shm"
RESERVE = 16 << 20


class SharedMemory:
    """The arrays that the ranks of `node` share, until `free` or `close`.

    All methods but `room` are collective over the node. `close` frees what is left, in the
    order in which it was made, the same on all ranks.
    """

    def __init__(self, node: MPI.Comm) -> None:
        self.node = node
        self._windows: dict[int, MPI.Win] = {}

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return one array that all ranks of the node see; local rank 0 owns the memory.

        Raises MPI.Exception on all ranks where there is no room.
        """
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        mine = max(length, 1) if self.node.rank == 0 else 0
        window = MPI.Win.Allocate_shared(mine, 1, comm=self.node)  # type: ignore[arg-type]
        memory, _ = window.Shared_query(0)
        raw = np.frombuffer(memory, np.uint8, length)  # type: ignore[call-overload]
        array: np.ndarray = raw.view(dtype).reshape(shape)
        self._windows[array.ctypes.data] = window
        return array

    def free(self, array: np.ndarray) -> None:
        """Free an array; no rank may use it any more. A second call does nothing."""
        window = self._windows.pop(array.ctypes.data, None)
        if window is not None:
            window.Free()

    def close(self) -> None:
        """Free all arrays, then the communicator of the node."""
        while self._windows:
            self._windows.pop(next(iter(self._windows))).Free()
        self.node.Free()

    @property
    def room(self) -> float:
        """Bytes of shared windows that this node has room for.

        A window that is larger than the file system behind it is granted all the same, and ends the
        process by SIGBUS when it is written to: containers often have 64 MB.
        """
        try:
            free = os.statvfs(PLACE)
        except OSError:
            return float("inf")
        return max(0.0, float(free.f_bavail) * free.f_frsize - RESERVE)
