"""A device with memory of its own, made of numpy: what is not copied explicitly is not there.

It shows that the host and the device never share an array by accident and that every transfer
happens, without a GPU. What a GPU computes is tested in `test_gpu.py`, on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from disttrain.arrays import Device, Mirror


class StandIn(Device):
    """Arrays are copies; copies to the host happen when `wait` is called, not before.

    What is sent from the host's memory is compared when `wait_for_copies` is called: until then a
    GPU may still read it.
    """

    kind = "gpu"
    name = "stand-in"

    def __init__(self) -> None:
        self._sent: list[tuple[np.ndarray, np.ndarray]] = []
        self._pinned: list[np.ndarray] = []

    def empty_host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self._pinned.append(np.empty(shape, dtype))
        return self._pinned[-1]

    def send(self, host: np.ndarray, out: Any) -> Any:
        assert any(np.shares_memory(host, whole) for whole in self._pinned) or not host.size
        assert host.flags.c_contiguous
        assert host.dtype == out.dtype
        self._sent.append((host, host.copy()))
        return self.put(host, out)

    def wait_for_copies(self) -> None:
        for host, before in self._sent:
            assert np.array_equal(host, before), "written to while it was copied"
        self._sent.clear()

    def put(self, host: np.ndarray, out: Any = None) -> Any:
        if out is None:
            return host.copy()
        out[...] = host
        return out

    def get(self, array: Any) -> np.ndarray:
        return np.array(array)

    def mirror(self, host: np.ndarray) -> Mirror:
        return LazyMirror(host)


class LazyMirror(Mirror):
    """Copies as late as the interface allows."""

    def __init__(self, host: np.ndarray) -> None:
        super().__init__(host)
        self.array = np.zeros_like(host)
        self._leaving: list[tuple[int, int]] = []
        self._arriving = False

    def leave(self, low: int, high: int) -> None:
        self._leaving.append((low, high))

    def wait(self) -> None:
        for low, high in self._leaving:
            self.host[low:high] = self.array[low:high]
        self._leaving.clear()
        self._arriving = False

    def arrive(self) -> None:
        assert not self._arriving, "written to while it was copied: nobody waited"
        self.array[...], self._arriving = self.host, True
