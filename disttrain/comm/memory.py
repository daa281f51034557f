"""Memory that the ranks of one node share: files without a name, mapped by all of them."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
from mpi4py import MPI

from disttrain.environment import MARK

__all__ = ["PAGE", "SharedMemory", "paged"]

# Bytes: arrays, and the ranks' parts of an array, begin at a page of their own.
PAGE = 4096
# Where the files are while they have a name, and what MPI takes there for its own messages.
PLACE = "/dev/shm"
RESERVE = 16 << 20


def paged(rows: int, length: int, dtype: np.dtype) -> np.ndarray:
    """Return zeros of shape (rows, length); each row has pages of its own: a GPU copies from it."""
    each = -(-length * dtype.itemsize // PAGE) * PAGE
    raw = np.zeros(rows * each + PAGE, np.uint8)
    begin = -raw.ctypes.data % PAGE
    whole: np.ndarray = raw[begin : begin + rows * each].view(dtype).reshape(rows, -1)
    return whole[:, :length]


class SharedMemory:
    """The arrays that the ranks of `node` share, each until no rank uses it any more.

    No window of MPI: these can't be given back where a rank has died. A file has a name only until
    all ranks have opened it; what a kill in between leaves is removed by the next launch.
    """

    def __init__(self, node: MPI.Comm) -> None:
        self.node = node

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return one array that all ranks of the node see, filled with zeros. Collective.

        Raises OSError on all ranks where there is no room.
        """
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        made, why = -1, ""
        path: str | OSError = ""
        if self.node.rank == 0:
            try:
                made, path = tempfile.mkstemp(prefix=f"disttrain-{os.getpid()}-", dir=self.place)
                os.ftruncate(made, max(length, 1))
            except OSError as error:
                path = error
        path = self.node.bcast(path)
        if isinstance(path, OSError):
            raise path
        try:
            made = made if made >= 0 else os.open(path, os.O_RDWR)
            mapped = mmap.mmap(made, max(length, 1))
        except OSError as error:
            why = str(error)
        finally:
            if made >= 0:
                os.close(made)
            failed = [w for w in self.node.allgather(why) if w]
            if self.node.rank == 0:
                os.unlink(path)
        if failed:
            raise OSError(failed[0])
        raw = np.frombuffer(mapped, np.uint8, length)
        return raw.view(dtype).reshape(shape)

    @property
    def place(self) -> str:
        """The folder for the files: the launch's own one, which is removed with it."""
        own = os.path.join(PLACE, f"disttrain-{os.environ.get(MARK, '')[:12]}")
        return next((p for p in (own, PLACE) if os.path.isdir(p)), tempfile.gettempdir())

    def close(self) -> None:
        """Free the communicator of the node. Collective."""
        self.node.Free()

    @property
    def room(self) -> float:
        """Bytes of shared memory that this node has room for.

        A file that is larger than the file system behind it is granted all the same, and ends the
        process by SIGBUS when it is written to: containers often have 64 MB.
        """
        try:
            free = os.statvfs(PLACE)
        except OSError:
            return float("inf")
        return max(0.0, float(free.f_bavail) * free.f_frsize - RESERVE)
