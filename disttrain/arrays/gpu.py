"""One GPU per rank, through CuPy: the only file, with `gpu_kernels`, that imports it."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import cupy
import cupyx
import numpy as np

from disttrain.arrays.device import Array, Device, Mirror
from disttrain.arrays.gpu_launch import run
from disttrain.errors import DeviceError

__all__ = ["Gpu"]


class Gpu(Device):
    """GPU number `host_rank` modulo the GPUs that this process sees.

    Raises DeviceError where the driver is missing or too old, there is no GPU, or a small product
    on it fails (a wheel for another CUDA, a GPU without memory left).
    """

    kind = "gpu"
    xp = cupy
    captures = True

    def __init__(self, host_rank: int) -> None:
        try:
            count = cupy.cuda.runtime.getDeviceCount()
            if not count:
                raise DeviceError("there is no GPU that this process can see")
            self._count = count
            self._device = cupy.cuda.Device(host_rank % count)
            self._device.use()
            probe = cupy.ones((8, 8), np.float32)
            if float((probe @ probe).sum()) != 512.0:
                raise DeviceError(f"GPU {self._device.id} gives wrong results")
        except DeviceError:
            raise
        # CuPy raises errors of half a dozen unrelated classes here; all mean: not usable.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DeviceError(
                f"no GPU can be used ({reason}): check `nvidia-smi`, and that the CuPy wheel "
                "(cuda12, cuda13) fits the driver"
            ) from None
        from disttrain.arrays import gpu_kernels, gpu_losses, gpu_normalization
        from disttrain.arrays.gpu_images import GpuImages

        self.kernels, self.losses, self.images = gpu_kernels, gpu_losses, GpuImages()
        self.normalization = gpu_normalization
        self._copied = cupy.cuda.Event(disable_timing=True)
        properties = cupy.cuda.runtime.getDeviceProperties(self._device.id)
        self.name = f"gpu {self._device.id} ({properties['name'].decode()})"

    def empty_host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return pinned memory."""
        return np.asarray(cupyx.empty_pinned(shape, dtype))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on this device."""
        return cupy.empty(shape, dtype)

    def put(self, host: np.ndarray, out: Array | None = None) -> Array:
        """Return `host` on this device, copied into `out` where one is given.

        From pinned memory the host does not wait for the copy: it must leave `host` alone until
        `wait_for_copies`.
        """
        if out is None:
            return cupy.asarray(host)
        host = np.ascontiguousarray(host, out.dtype)
        if host.size:
            stream = cupy.cuda.get_current_stream().ptr
            kind = cupy.cuda.runtime.memcpyHostToDevice
            cupy.cuda.runtime.memcpyAsync(out.data.ptr, host.ctypes.data, host.nbytes, kind, stream)
            self._copied.record()
        return out

    def dot(self, a: Array, b: Array, out: Array) -> Array:
        """Write `a @ b` to `out` by disttrain's own kernel, which a capture can hold; return it."""
        if a.dtype == b.dtype == out.dtype and out.flags.c_contiguous and out.ndim == 2:
            run(self.losses.multiplying(a, b, out))
            return out
        return cupy.dot(a, b, out=out)

    def total(self, losses: Array) -> Any:
        """Return the sum of the losses of some samples, as an array of no axes."""
        # A loss of somebody's own may return numbers of another type, or a single one.
        whole, found = cupy.ascontiguousarray(losses, "f8"), cupy.empty(1, "f8")
        self.kernels.adding_up(whole, found)()
        return found[0]

    def program(self, dtype: str, rows: int, keys: int, units: int) -> Any:
        """Return what notes the launches of a step of `rows` samples."""
        from disttrain.arrays.gpu_program import GpuProgram

        return GpuProgram(self, dtype, rows, keys, units)

    def free_memory(self) -> float:
        """Return the bytes that are free on this GPU."""
        return float(cupy.cuda.runtime.memGetInfo()[0])

    def ranks_sharing(self, ranks: int) -> int:
        """Return how many of the `ranks` on this host, at most, use this GPU."""
        return int(-(-ranks // self._count))

    def wait_for_copies(self) -> None:
        """Return when host arrays that were given to `put` may be written again."""
        self._copied.synchronize()

    def get(self, array: Array) -> np.ndarray:
        """Return `array` on the host, after all kernels that write to it."""
        return np.asarray(cupy.asnumpy(array))

    def mirror(self, host: np.ndarray) -> Mirror:
        """Return the device's side of a host vector, which is pinned for fast copies."""
        return GpuMirror(host)


class GpuMirror(Mirror):
    """A device vector and its pinned host mirror; copies to the host have their own stream."""

    def __init__(self, host: np.ndarray) -> None:
        super().__init__(host)
        self.array = cupy.zeros(host.shape, host.dtype)
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._arrived = cupy.cuda.Event(disable_timing=True)
        self._arrived.record()
        # Memory that can't be pinned (a limit on locked memory) is copied more slowly.
        with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
            address = host.ctypes.data
            cupy.cuda.runtime.hostRegister(address, max(host.nbytes, 1), 0)
            # CUDA must forget the memory before it is freed.
            weakref.finalize(self, _unregister, host, address)

    def leave(self, low: int, high: int) -> None:
        """Start to copy `array[low:high]` to the host, behind the kernels that wrote it."""
        part = self.array[low:high]
        if part.size:
            self._copies.wait_event(cupy.cuda.get_current_stream().record())
            cupy.cuda.runtime.memcpyAsync(
                self.host[low:high].ctypes.data, part.data.ptr, part.nbytes,
                cupy.cuda.runtime.memcpyDeviceToHost, self._copies.ptr,
            )  # fmt: skip

    def wait(self) -> None:
        """Return when all copies have reached the host and `host` may be written again."""
        self._copies.synchronize()
        self._arrived.synchronize()

    def arrive(self) -> None:
        """Copy the whole host vector to the device, before the next kernels there."""
        if self.host.size:
            stream = cupy.cuda.get_current_stream()
            cupy.cuda.runtime.memcpyAsync(
                self.array.data.ptr, self.host.ctypes.data, self.host.nbytes,
                cupy.cuda.runtime.memcpyHostToDevice, stream.ptr,
            )  # fmt: skip
            self._arrived.record(stream)


def _unregister(host: np.ndarray, address: int) -> None:
    with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
        cupy.cuda.runtime.hostUnregister(address)
