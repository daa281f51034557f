"""Facts about a GPU that are put together from what a made CuPy and a made driver say."""

import sys
from types import SimpleNamespace

import pytest

from disttrain.arrays import facts
from disttrain.errors import DeviceError


def made_cupy():
    runtime = SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        getDeviceCount=lambda: 2,
        getDevice=lambda: 1,
        deviceGetPCIBusId=lambda device: f"0000:0{device}:00.0",
    )
    return SimpleNamespace(__version__="14.0.1", cuda=SimpleNamespace(runtime=runtime))


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host with a driver and a CuPy whose GPU works."""
    cupy = made_cupy()
    gpu = SimpleNamespace(Gpu=lambda local_rank: SimpleNamespace(name=f"gpu {local_rank} (made)"))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    monkeypatch.setitem(sys.modules, "disttrain.arrays.gpu", gpu)
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\nGCC version: 12\n"
    )
    monkeypatch.setattr(facts, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(facts, "_driver_cuda", lambda: 13000)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return SimpleNamespace(cupy=cupy, gpu=gpu)


def test_a_gpu_that_works(host):
    found = facts.gpu_facts(1)
    assert (found.driver, found.driver_cuda, found.runtime_cuda) == ("580.65.06", 13000, 13000)
    assert (found.cupy, found.count) == ("14.0.1", 2)
    assert (found.device, found.bus, found.problem) == ("gpu 1 (made)", "0000:01:00.0", "")
    assert found.has_driver


def test_parts_of_one_gpu_are_not_the_same(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a")
    first = facts.gpu_facts(0).bus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-b")
    assert facts.gpu_facts(0).bus != first


def test_a_gpu_that_can_not_be_used_says_why(host):
    def refuse(local_rank):
        raise DeviceError("no GPU can be used (out of memory)")

    host.gpu.Gpu = refuse
    found = facts.gpu_facts(0)
    assert (found.device, found.bus) == ("", "")
    assert found.problem == "no GPU can be used (out of memory)"
    assert found.count == 2


def test_a_cupy_that_can_not_be_loaded_or_is_not_there(host, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(facts, "_wheels", lambda: ("cupy-cuda13x",))
    assert facts.gpu_facts(0).problem.startswith("CuPy can't be loaded (")
    monkeypatch.setattr(facts, "_wheels", lambda: ())
    assert facts.gpu_facts(0) == facts.GpuFacts("580.65.06", 13000, problem="CuPy is not installed")
    monkeypatch.setattr(facts, "DRIVER", facts.DRIVER.parent / "missing")
    monkeypatch.setattr(facts, "_driver_cuda", lambda: 0)
    assert not facts.gpu_facts(0).has_driver
