import sys

import numpy as np
import pytest

from disttrain.arrays import Cpu, choose
from disttrain.errors import DeviceError


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "disttrain.arrays.gpu", raising=False)
    monkeypatch.delitem(sys.modules, "disttrain.arrays.gpu_kernels", raising=False)


@pytest.mark.parametrize("driver", ["", "570.1"])
def test_auto_falls_back_and_says_why_where_there_is_a_gpu(
    no_cupy: None, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("disttrain.arrays.facts._driver", lambda: driver)
    monkeypatch.setattr("disttrain.arrays.facts._driver_cuda", lambda: 0)
    said: list[str] = []
    assert choose("auto", 0, said.append).kind == "cpu"
    if not driver:
        assert not said
        return
    (line,) = said
    assert "CuPy" in line
    assert "pip install 'disttrain[cuda13]'" in line
    assert "\n" not in line


def test_gpu_that_is_not_there_is_a_usage_error_with_the_cure(no_cupy: None) -> None:
    with pytest.raises(DeviceError, match=r'device.kind = "gpu".*pip install.*"cpu"') as caught:
        choose("gpu", 0)
    assert caught.value.exit_code == 2


def test_cpu_looks_for_no_gpu_and_says_nothing(no_cupy: None) -> None:
    said: list[str] = []
    assert choose("cpu", 3, said.append).kind == "cpu"
    assert said == []


def test_a_mirror_on_the_processor_is_the_host_array() -> None:
    host = np.zeros(4)
    assert Cpu().mirror(host).array is host


def test_put_copies_only_into_what_is_given() -> None:
    host, there = np.arange(3.0), np.zeros(3)
    assert Cpu().put(host) is host
    assert Cpu().put(host, there) is there
    assert there.tolist() == [0, 1, 2]
