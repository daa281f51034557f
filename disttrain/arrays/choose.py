"""Which device a rank computes on."""

from __future__ import annotations

from collections.abc import Callable

from disttrain.arrays.device import Cpu, Device
from disttrain.arrays.facts import has_driver
from disttrain.errors import DeviceError

__all__ = ["choose"]


def choose(kind: str, host_rank: int, say: Callable[[str], None] = lambda line: None) -> Device:
    """Return the device for this rank: GPU number `host_rank` modulo the GPUs of the node.

    `kind` is "cpu", "gpu" or "auto". "auto" falls back to the processor, and says in one line why
    where this host has a GPU or CuPy is installed; "gpu" raises DeviceError with the cure where
    there is none that works.
    """
    if kind == "cpu":
        return Cpu()
    try:
        from disttrain.arrays.gpu import Gpu

        return Gpu(host_rank)
    except ImportError as error:
        if kind == "auto" and not has_driver():
            return Cpu()
        problem = f"CuPy can't be loaded ({error}): pip install 'disttrain[cuda13]' or [cuda12]"
    except DeviceError as error:
        problem = str(error) if has_driver() else "this host has no NVIDIA driver"
    if kind == "gpu":
        raise DeviceError(f'device.kind = "gpu", but {problem}, or use "auto" or "cpu"')
    say(f"device: the processor, because {problem}")
    return Cpu()
