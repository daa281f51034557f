"""Where arrays lie and what computes on them: the processor here, a GPU in `gpu.py`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from disttrain.arrays.images import Images
from disttrain.memory import free_memory


def _host_kernels() -> Any:
    """Return the compiled kernels, or those in numpy where they were not built."""
    from disttrain.arrays import cpu_kernels

    try:
        from disttrain.arrays import compiled_kernels
    except ImportError:
        return cpu_kernels
    except AttributeError:
        _warn_of_older("kernels")
        return cpu_kernels
    return compiled_kernels


def _host_images() -> Images:
    """Return convolution and pooling in C, or in numpy where that was not built."""
    from disttrain.arrays.compiled_images import CompiledImages

    try:
        return CompiledImages()
    except ImportError:
        return Images(np)
    except AttributeError:
        _warn_of_older("convolution and pooling")
        return Images(np)


def _warn_of_older(what: str) -> None:
    """Warn of a library that lacks functions: disttrain, edited in place, was not built again."""
    warnings.warn(
        f"the compiled {what} of disttrain are older than its Python code, so numpy computes "
        "instead: install disttrain again",
        RuntimeWarning,
        stacklevel=2,
    )


__all__ = ["Array", "Cpu", "Device", "Mirror"]

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
        """Return when all copies have reached the host and `host` may be written again."""

    def arrive(self) -> None:
        """Copy the whole host vector to the device, before the next kernels there."""


class Device:
    """The processor: numpy, and kernels in one pass over memory where that pays."""

    kind = "cpu"
    name = "cpu"
    xp: ModuleType = np
    kernels: Any = _host_kernels()
    images: Images = _host_images()
    # Losses with their gradients in one kernel each (`gpu_losses`); None: by `xp`, in several.
    losses: Any = None
    # The same of layer normalization (`gpu_normalization`).
    normalization: Any = None
    # Whether steps can be captured: `program` then returns what notes them.
    captures = False

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

    def send(self, host: np.ndarray, out: Array) -> Array:
        """Begin to copy from memory of `empty_host`, which stays as it is until `wait_for_copies`.

        `host` and `out` lie in one run, and have one type.
        """
        return self.put(host, out)

    def free_memory(self) -> float:
        """Return the bytes that are free here, for all ranks that use this device."""
        return free_memory()

    def ranks_sharing(self, ranks: int) -> int:
        """Return how many of the `ranks` on this host, at most, use this device."""
        return ranks

    def wait_for_copies(self) -> None:
        """Return when host arrays that were given to `send` may be written again."""

    def explained(self, error: BaseException) -> BaseException:
        """Return what to raise for an error of this device: a sentence for the user."""
        return error

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise errors of this device as `explained` says them."""
        try:
            yield
        except Exception as error:
            if (said := self.explained(error)) is error:
                raise
            raise said from error

    def get(self, array: Array) -> np.ndarray:
        """Return `array` on the host, after all kernels that write to it."""
        return np.asarray(array)

    def dot(self, a: Array, b: Array, out: Array) -> Array:
        """Write the product of two matrices to `out`; return it."""
        return np.dot(a, b, out=out)

    def total(self, losses: Array) -> Any:
        """Return the sum of the losses of some samples."""
        return np.sum(losses)

    def program(self, dtype: str, rows: int, keys: int, units: int) -> Any:
        """Return what notes the launches of a step, where steps can be captured."""
        raise NotImplementedError

    def mirror(self, host: np.ndarray) -> Mirror:
        """Return the device's side of a host vector."""
        return Mirror(host)


Cpu = Device
