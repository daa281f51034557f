"""Where arrays live and who computes on them: the processor here, a GPU in `gpu.py`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from disttrain.errors import DeviceError
from disttrain.memory import free_memory


def _host_kernels() -> Any:
    """Return the compiled kernels, or where there are none the same in numpy."""
    try:
        from disttrain.arrays import compiled_kernels
    except ImportError:
        from disttrain.arrays import cpu_kernels

        return cpu_kernels
    return compiled_kernels


__all__ = ["Array", "Cpu", "Device", "Mirror", "choose"]

# A numpy or a cupy array; layers are written once for both.
Array = Any


class Mirror:
    """A host vector that MPI sees and the vector on the device that the kernels see.

    On the processor both are one array and every method does nothing.
    """

    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self.array: Array = host

    def leave(self, low: int, high: int) -> None:
        """Start to copy `array[low:high]` to the host."""

    def wait(self) -> None:
        """Return when everything that left is at the host and `host` may be written again."""

    def arrive(self) -> None:
        """Copy the whole host vector to the device, before whatever the device does next."""


class Device:
    """The processor: numpy, and kernels in one pass over memory where that pays."""

    kind = "cpu"
    name = "cpu"
    xp: ModuleType = np
    kernels: Any = _host_kernels()

    def empty_host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array on the host that copies to this device fast."""
        return np.empty(shape, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on this device."""
        return np.empty(shape, dtype)

    def put(self, host: np.ndarray, out: Array | None = None) -> Array:
        """Return `host` on this device, copied into `out` where one is given."""
        if out is None:
            return host
        np.copyto(out, host)
        return out

    def free_memory(self) -> float:
        """Return the bytes that are free here, for all ranks that use this device."""
        return free_memory()

    def wait_for_copies(self) -> None:
        """Return when host arrays that were given to `put` may be written again."""

    def get(self, array: Array) -> np.ndarray:
        """Return `array` on the host, when everything that writes to it is done."""
        return np.asarray(array)

    def mirror(self, host: np.ndarray) -> Mirror:
        """Return the device's side of a host vector."""
        return Mirror(host)


Cpu = Device


def choose(kind: str, local_rank: int, say: Callable[[str], None] = lambda line: None) -> Device:
    """Return the device for this rank: GPU number `local_rank` modulo the GPUs of the node.

    `kind` is "cpu", "gpu" or "auto". "auto" falls back to the processor and says in one line why;
    "gpu" raises DeviceError with the cure where there is none that works.
    """
    if kind == "cpu":
        return Device()
    try:
        from disttrain.arrays.gpu import Gpu

        return Gpu(local_rank)
    except ImportError as error:
        problem = f"CuPy can't be loaded ({error}): pip install 'disttrain[cuda13]' or [cuda12]"
    except DeviceError as error:
        problem = str(error)
    if kind == "gpu":
        raise DeviceError(f'device.kind = "gpu", but {problem}, or use "auto" or "cpu"')
    say(f"device: the processor, because {problem}")
    return Device()
