"""What a GPU that can't be used, or fails, says: one sentence that names it and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import choose
from disttrain.errors import DeviceError, LostRanks
from disttrain.training import fit
from tests.gpu.cases import CASES, built, stepped
from tests.gpu.fake_cupy import Failed, OutOfMemory
from tests.gpu.host_cuda import COMPILER

if COMPILER is None:
    pytest.skip("no C++ compiler", allow_module_level=True)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def said_by(gpu: Any) -> str:
    """Return what another device of this kind says when it can't be made."""
    with pytest.raises(DeviceError) as caught:
        type(gpu)(0)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_card_that_is_too_old_for_this_cuda(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = gpu.xp.cuda.runtime
    old = {"name": b"Tesla P100", "major": 6, "minor": 0}
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda _: old)
    assert said_by(gpu) == (
        "gpu 0 (Tesla P100) has compute capability 6.0, and CUDA 13 needs 7.5: install the extra "
        "cuda12 instead of cuda13"
    )
    monkeypatch.setattr(runtime, "runtimeGetVersion", lambda: 12090)
    assert type(gpu)(0).name == "gpu 0 (Tesla P100)"


def test_each_rank_takes_a_part_of_a_gpu_that_is_divided(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, part in enumerate(("MIG-a", "MIG-b", "MIG-a")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a, MIG-b")
        device = type(gpu)(rank)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == part
        assert device.ranks_sharing(3) == 2
        # A second device of this rank has the same part.
        assert type(gpu)(rank).ranks_sharing(3) == 2
        assert os.environ["CUDA_VISIBLE_DEVICES"] == part
    for whole in ("0,1", "GPU-a,GPU-b", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", whole)
        assert type(gpu)(1).ranks_sharing(3) == 3
        assert os.environ["CUDA_VISIBLE_DEVICES"] == whole


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Failed("cudaErrorInsufficientDriver: driver is older\nmore"), "fits the driver"),
        (Failed("cudaErrorNoDevice: none is detected"), "CUDA_VISIBLE_DEVICES names a GPU"),
        (Failed("cudaErrorDevicesUnavailable: busy or unavailable"), "start one rank a GPU"),
        (Failed("cudaErrorMemoryAllocation: out of memory"), "its memory is full"),
        (RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12"'), "cupy-cuda13x[ctk]"),
        (OutOfMemory("Out of memory allocating 256 bytes"), "its memory is full"),
    ],
    ids=str,
)
def test_a_card_that_cannot_be_used(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(gpu.xp, "ones", raising(error), raising=False)
    said = said_by(gpu)
    assert str(error).splitlines()[0] in said
    assert words in said
    for driver in (True, False):
        # The name of the module is that of the function in it.
        module = sys.modules["disttrain.arrays.choose"]
        monkeypatch.setattr(module, "has_driver", lambda there=driver: there)
        with pytest.raises(DeviceError, match=r'device.kind = "gpu", but .*use "auto"') as caught:
            choose("gpu", 0)
        assert ("this host has no NVIDIA driver" in str(caught.value)) == (not driver)


def test_a_kernel_that_does_not_compile_is_found_before_the_training(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = Failed("NVRTC_ERROR_COMPILATION: libnvrtc has no builtins")
    monkeypatch.setattr(sys.modules["disttrain.arrays.gpu"], "run", raising(error))
    assert "libnvrtc has no builtins" in said_by(gpu)


def test_wrong_results_of_a_card_are_found(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["disttrain.arrays.gpu"], "run", lambda launches: None)
    monkeypatch.setattr(gpu.xp, "empty_like", gpu.xp.zeros_like, raising=False)
    assert "gives wrong results" in said_by(gpu)


@pytest.mark.parametrize("where", ["step", "validation"])
def test_what_does_not_fit_and_what_is_lost(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    run = built(tmp_path, CASES["dense"])
    stepped(run, 2)

    def go() -> None:
        stepped(run, 2) if where == "step" else run.validate()

    of_graphs = sys.modules["disttrain.arrays.gpu_graph"].Replay
    full = OutOfMemory("Out of memory allocating 4,096 bytes")
    monkeypatch.setattr(of_graphs, "__call__", raising(full))
    with pytest.raises(DeviceError, match=r"has no memory left.*4,096 bytes.*training\.batch_size"):
        go()
    lost = Failed("cudaErrorIllegalAddress: an illegal memory access was encountered")
    monkeypatch.setattr(of_graphs, "__call__", raising(lost))
    with pytest.raises(LostRanks, match=r"gpu 0 .* failed \(cudaErrorIllegal.*--resume"):
        go()


def test_a_gpu_that_is_lost_in_the_update(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = built(tmp_path, CASES["dense"])
    lost = Failed("cudaErrorIllegalAddress: an illegal memory access was encountered")
    monkeypatch.setattr(run.work.ledger, "end_step", raising(lost))
    with pytest.raises(LostRanks, match=r"gpu 0 .* failed \(cudaErrorIllegal.*--resume"):
        fit(run)


def test_what_is_too_large_for_a_kernel_says_so(gpu: Any) -> None:
    kernels = gpu.kernels
    with pytest.raises(DeviceError, match="too many for the kernel average"):
        kernels.launch("average", "f4", 1 << 31)
    with pytest.raises(DeviceError, match=r"not to 3,000,000,000: set"):
        kernels.launch("average", "f4", 5, 3_000_000_000)
    with pytest.raises(DeviceError, match=r"too large for the kernel product: \(1, 65536, 1\)"):
        kernels.launch_blocks("product", "f4", (1, 1 << 16, 1), (256,))


@pytest.mark.parametrize("size", [3, 1 << 21])
def test_memory_that_was_put_may_be_written_again(gpu: Any, size: int) -> None:
    host, there = np.ones(size), gpu.empty((size,), "f4")
    assert gpu.put(host, there) is there
    host[...] = 2
    assert (gpu.get(there) == 1).all()
