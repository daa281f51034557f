"""C code of another version than the Python code is found before anything is recorded."""

import ctypes
import sys

import pytest

import disttrain.arrays
from disttrain.arrays import cpu_kernels, device, recording
from disttrain.arrays.images import Images


def test_this_installation_has_one_version() -> None:
    assert recording.why_no_recordings.__wrapped__("float32") == ""


@pytest.mark.parametrize("other", [([], []), (["gather"], [8, 8])])
def test_other_names_or_sizes_are_not_called(
    other: tuple[list[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "compiled_form", lambda: other)
    assert "install disttrain again" in recording.why_no_recordings.__wrapped__("float32")


def test_libraries_that_lack_functions_are_replaced_by_numpy_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("disttrain.arrays.compiled_kernels")
    other = ctypes.CDLL(None)
    monkeypatch.delitem(sys.modules, "disttrain.arrays.compiled_kernels")
    monkeypatch.delattr(disttrain.arrays, "compiled_kernels")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: other)
    with pytest.warns(RuntimeWarning, match="kernels of disttrain are older.*install disttrain"):
        assert device._host_kernels() is cpu_kernels
    with pytest.warns(RuntimeWarning, match="convolution and pooling of disttrain are older"):
        assert type(device._host_images()) is Images
