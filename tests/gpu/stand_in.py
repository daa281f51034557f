"""A device with memory of its own, made of numpy: what is not copied explicitly is not there.

It shows that the host and the device never share an array by accident and that every transfer
happens, without a GPU. What a GPU computes is tested in `test_gpu.py`, on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from disttrain.arrays import Device, Mirror


class StandIn(Device):
    """Arrays are copies; copies to the host happen when `wait` is called, not before."""

    kind = "gpu"
    name = "stand-in"

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

    def leave(self, low: int, high: int) -> None:
        self._leaving.append((low, high))

    def wait(self) -> None:
        for low, high in self._leaving:
            self.host[low:high] = self.array[low:high]
        self._leaving.clear()

    def arrive(self) -> None:
        self.array[...] = self.host
