"""A barrier for the ranks of one node in memory that they share: `barrier.c` by ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np

from disttrain.comm.memory import SharedMemory
from disttrain.environment import cores

__all__ = ["Barrier"]

# Numbers of 32 bits that it takes in shared memory: three cache lines.
LENGTH = 48


class _State(ctypes.Structure):
    _fields_ = (
        ("shared", ctypes.c_void_p),
        ("ranks", ctypes.c_uint32),
        ("spins", ctypes.c_uint32),
        ("waits", ctypes.c_uint32),
        ("round", ctypes.c_uint32),
    )


class Barrier:
    """Returns from `wait` when all ranks of the node have called it. Making one is collective.

    A recorded step calls the C function at `function` with what is at `state`, until it returns 1.
    Where disttrain was installed without a C compiler, `function` is 0 and MPI waits.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self._node = memory.node
        wait = _library()
        everywhere = all(self._node.allgather(wait is not None))
        self._wait = wait if everywhere else None
        self.function = self.state = 0
        if self._wait is None:
            self._node.Barrier()
            return
        self._array = memory.array((LENGTH,), np.dtype("u4"))
        if self._node.rank == 0:
            self._array[:] = 0
        self._node.Barrier()
        spins = self._node.size <= len(set().union(*self._node.allgather(cores())))
        self._state = _State(self._array.ctypes.data, self._node.size, spins, 0, 0)
        self.function = ctypes.cast(self._wait, ctypes.c_void_p).value or 0
        self.state = ctypes.addressof(self._state)

    def wait(self) -> None:
        """Wait for all ranks; signals are seen meanwhile."""
        if self._wait is None:
            self._node.Barrier()
            return
        while not self._wait(self.state):
            self.progress()

    def progress(self) -> None:
        """Let MPI send what this rank still has to send: it does so only when it is called."""
        self._node.Iprobe()


def _library() -> Any:
    """Return the C function, or None where there was no compiler."""
    found = importlib.util.find_spec("disttrain.comm._barrier")
    if found is None or found.origin is None:
        return None
    wait = ctypes.CDLL(found.origin).barrier_wait
    wait.argtypes, wait.restype = [ctypes.c_void_p], ctypes.c_int
    return wait
