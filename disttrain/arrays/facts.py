"""Which GPU this rank would take, and whether driver, CuPy and CUDA fit each other."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from disttrain.errors import DeviceError

__all__ = ["GpuFacts", "gpu_facts", "has_driver"]

DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class GpuFacts:
    """One rank's GPU; what is not there is empty or 0.

    `driver` is the version of the NVIDIA driver, `driver_cuda` the newest CUDA that it serves and
    `runtime_cuda` the one that CuPy brings (12040 is 12.4), `wheels` the CuPy distributions that
    are installed, `count` the GPUs that this rank sees, `device` the one that it would take and
    `bus` where that one is. `problem` says why none can be used.
    """

    driver: str = ""
    driver_cuda: int = 0
    wheels: tuple[str, ...] = ()
    cupy: str = ""
    runtime_cuda: int = 0
    count: int = 0
    device: str = ""
    bus: str = ""
    problem: str = ""

    @property
    def has_driver(self) -> bool:
        """True where the rank's host has an NVIDIA driver, whether it works or not."""
        return bool(self.driver or self.driver_cuda)


def gpu_facts(host_rank: int) -> GpuFacts:
    """Return what this rank would compute on. Starts CUDA where CuPy is installed."""
    driver, serves, wheels = _driver(), _driver_cuda(), _wheels()
    try:
        import cupy
    # A wheel for another CUDA fails here with whatever its libraries raise.
    except Exception as error:
        reason = f"CuPy can't be loaded ({error})" if wheels else "CuPy is not installed"
        return GpuFacts(driver, serves, wheels, problem=reason.splitlines()[0])
    version, runtime, count, device, bus, problem = cupy.__version__, 0, 0, "", "", ""
    try:
        from disttrain.arrays.gpu import Gpu

        device = Gpu(host_rank).name
        bus = cupy.cuda.runtime.deviceGetPCIBusId(cupy.cuda.runtime.getDevice())
        if (part := os.environ.get("CUDA_VISIBLE_DEVICES", "")).startswith("MIG-"):
            # Parts of one GPU have its place on the bus.
            bus = f"{bus} {part}"
    except DeviceError as error:
        problem = str(error)
    # Behind the device, which may choose what CUDA shows; where one of these fails, it says why.
    with contextlib.suppress(Exception):
        runtime = cupy.cuda.runtime.runtimeGetVersion()
        count = cupy.cuda.runtime.getDeviceCount()
    return GpuFacts(driver, serves, wheels, version, runtime, count, device, bus, problem)


def has_driver() -> bool:
    """Return True where this host has an NVIDIA driver."""
    return bool(_driver() or _driver_cuda())


def _driver() -> str:
    try:
        found = re.search(r"Kernel Module\D*([\d.]+)", DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else "unknown"


def _driver_cuda() -> int:
    """Ask the driver's own library, which needs no CuPy and starts nothing."""
    version = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value


def _wheels() -> tuple[str, ...]:
    names = {d.metadata["Name"] or "" for d in metadata.distributions()}
    return tuple(sorted(name for name in names if re.fullmatch(r"cupy(-cuda\w+|-rocm\S+)?", name)))
