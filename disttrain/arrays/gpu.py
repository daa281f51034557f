"""One GPU per rank, through CuPy, which the files `gpu*.py` here import and no others."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Any

import cupy
import cupyx
import numpy as np

from disttrain.arrays.device import Array, Device, Mirror
from disttrain.arrays.gpu_launch import run
from disttrain.errors import DeviceError, LostRanks

__all__ = ["Gpu"]

# Bytes: of more there is no copy in pinned memory, which CuPy would keep.
SMALL = 1 << 22
PAGE = 4096
VISIBLE = "CUDA_VISIBLE_DEVICES"
# How many parts of GPUs there were before this rank took one.
PARTS: list[int] = []
FAILURES = cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError


class Gpu(Device):
    """GPU number `host_rank` modulo the GPUs that this process sees.

    Raises DeviceError where the driver is missing or too old, there is no GPU, it is too old for
    the CUDA of the wheel, or a small product by a kernel of disttrain's own fails on it (a wheel
    for another CUDA, a GPU without memory left, or that another process has for itself).
    """

    kind = "gpu"
    xp = cupy
    captures = True

    def __init__(self, host_rank: int) -> None:
        try:
            parts = take_part(host_rank)
            count = cupy.cuda.runtime.getDeviceCount()
            if not count:
                raise DeviceError("there is no GPU that this process can see")
            self._count = max(count, parts)
            self._device = cupy.cuda.Device(host_rank % count)
            self._device.use()
            properties = cupy.cuda.runtime.getDeviceProperties(self._device.id)
            self.name = f"gpu {self._device.id} ({properties['name'].decode()})"
            refuse_too_old(self.name, properties["major"], properties["minor"])
            self._begin()
            probe = cupy.ones((8, 8), np.float32)
            if not (self.get(self.dot(probe, probe, cupy.empty_like(probe))) == 8).all():
                raise DeviceError(f"{self.name} gives wrong results: use another one")
        except DeviceError:
            raise
        # CuPy raises errors of half a dozen unrelated classes here; all mean: not usable.
        except Exception as error:
            raise DeviceError(f"no GPU can be used ({first_line(error)}): {cure(error)}") from None

    def _begin(self) -> None:
        from disttrain.arrays import gpu_kernels, gpu_losses, gpu_normalization
        from disttrain.arrays.gpu_images import GpuImages

        self.kernels, self.losses, self.images = gpu_kernels, gpu_losses, GpuImages()
        self.normalization = gpu_normalization
        self._copied = cupy.cuda.Event(disable_timing=True)
        # Pinned memory that is being copied from.
        self._staged: list[tuple[Any, np.ndarray]] = []

    def empty_host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return pinned memory."""
        return np.asarray(cupyx.empty_pinned(shape, dtype))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array on this device."""
        return cupy.empty(shape, dtype)

    def put(self, host: np.ndarray, out: Array | None = None) -> Array:
        """Return `host` on this device, copied into `out` where one is given.

        What is small is copied to pinned memory, and the host does not wait for what follows;
        for what is large it waits.
        """
        if out is None:
            return cupy.asarray(host)
        if host.nbytes > SMALL:
            self.send(np.ascontiguousarray(host, out.dtype), out)
            self._copied.synchronize()
            return out
        staged = self.empty_host(host.shape, out.dtype)
        np.copyto(staged, host, casting="unsafe")
        self.send(staged, out)
        self._staged = [pair for pair in self._staged if not pair[0].done]
        self._staged.append((cupy.cuda.get_current_stream().record(), staged))
        return out

    def send(self, host: np.ndarray, out: Array) -> Array:
        """Begin to copy from memory of `empty_host`, which stays as it is until `wait_for_copies`.

        `host` and `out` lie in one run, and have one type.
        """
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
        whole = cupy.ascontiguousarray(cupy.asarray(losses, "f8"))
        found = cupy.empty(1, "f8")
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
        """Return when host arrays that were given to `send` may be written again."""
        self._copied.synchronize()

    def explained(self, error: BaseException) -> BaseException:
        """Return what to raise for an error: of CUDA's a sentence for the user, others as it is."""
        reason = first_line(error)
        if isinstance(error, cupy.cuda.memory.OutOfMemoryError):
            return DeviceError(
                f"{self.name} has no memory left ({reason}): set training.batch_size to a smaller "
                "number, or training.accumulate to a larger one, or start fewer ranks on this GPU"
            )
        if isinstance(error, FAILURES):
            return LostRanks(
                f"{self.name} failed ({reason}): look at `nvidia-smi` and `dmesg | grep -i xid`, "
                "and go on with --resume"
            )
        return error

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
        self._pinned = False

    def _pin(self) -> None:
        """Let CUDA copy without waiting: it registers whole pages, so none of another array's.

        Memory that can't be pinned (a limit on locked memory) is copied more slowly.
        """
        address, self._pinned = self.host.ctypes.data, True
        if address % PAGE == 0:
            with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
                cupy.cuda.runtime.hostRegister(address, self.host.nbytes, 0)
                # CUDA must forget the memory before it is freed.
                weakref.finalize(self, _unregister, self.host, address)

    def leave(self, low: int, high: int) -> None:
        """Start to copy `array[low:high]` to the host, behind the kernels that wrote it."""
        part = self.array[low:high]
        if part.size:
            if not self._pinned:
                self._pin()
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
            if not self._pinned:
                self._pin()
            stream = cupy.cuda.get_current_stream()
            cupy.cuda.runtime.memcpyAsync(
                self.array.data.ptr, self.host.ctypes.data, self.host.nbytes,
                cupy.cuda.runtime.memcpyHostToDevice, stream.ptr,
            )  # fmt: skip
            self._arrived.record(stream)


def take_part(host_rank: int) -> int:
    """Let this rank see its own part where CUDA_VISIBLE_DEVICES lists parts of GPUs (MIG).

    CUDA shows a process the first part only. Returns how many parts there are; 0 for whole GPUs.
    """
    parts = [p.strip() for p in os.environ.get(VISIBLE, "").split(",") if p.strip()]
    if not parts or not all(part.startswith("MIG-") for part in parts):
        return 0
    if len(parts) > 1:
        # It is read when CUDA starts: with the first call, which comes now.
        os.environ[VISIBLE] = parts[host_rank % len(parts)]
        PARTS.append(len(parts))
    return PARTS[-1] if PARTS else 1


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]


def cure(error: BaseException) -> str:
    """Return what to do where a GPU can't be used."""
    words = str(error)
    if "Unavailable" in words:
        return (
            "another process has it for itself (`nvidia-smi -q -d COMPUTE`): start one rank a GPU, "
            "or let the administrator set the mode Default"
        )
    if "nvrtc" in words or "cuda_fp16" in words:
        return (
            "CuPy compiles kernels by CUDA's NVRTC: pip install 'cupy-cuda13x[ctk]' (or "
            "cupy-cuda12x[ctk]), or let CUDA_PATH name an installation of CUDA"
        )
    if isinstance(error, MemoryError) or "MemoryAllocation" in words:
        return "its memory is full: look in `nvidia-smi` for what uses it"
    return (
        "check `nvidia-smi`, that CUDA_VISIBLE_DEVICES names a GPU where it is set, and that the "
        "CuPy wheel (cuda12, cuda13) fits the driver"
    )


def refuse_too_old(name: str, major: int, minor: int) -> None:
    """Raise DeviceError for a GPU that CuPy's CUDA has no code for."""
    runtime = cupy.cuda.runtime.runtimeGetVersion() // 1000
    if runtime >= 13 and (major, minor) < (7, 5):
        raise DeviceError(
            f"{name} has compute capability {major}.{minor}, and CUDA {runtime} needs 7.5: install "
            "the extra cuda12 instead of cuda13"
        )


def _unregister(host: np.ndarray, address: int) -> None:
    with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
        cupy.cuda.runtime.hostUnregister(address)
