"""The GPU's kernels are CUDA: NVRTC, which needs no GPU, compiles all for float and double.

`pip install nvidia-cuda-nvrtc-cu12` switches these tests on.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util

import pytest

from tests.gpu.host_cuda import FOLDER, KERNEL

PLACE = importlib.util.find_spec("nvidia")
FOUND = [
    path
    for folder in (PLACE.submodule_search_locations or [] if PLACE else [])
    for path in glob.glob(f"{folder}/*/lib/libnvrtc.so.*")
]
if not FOUND:
    pytest.skip("no NVRTC: pip install nvidia-cuda-nvrtc-cu12", allow_module_level=True)

ARCHITECTURES = ("sm_75", "sm_90")
SOURCE = "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.cu")))


def compiled(source: str, architecture: str) -> str:
    """Return what NVRTC says of a source: "" where it compiles."""
    nvrtc, program = ctypes.CDLL(FOUND[0]), ctypes.c_void_p()
    # As CuPy compiles: from version 13 on for C++11.
    given = [f"--gpu-architecture={architecture}".encode(), b"--fmad=false", b"--std=c++11"]
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    )
    assert status == 0
    status = nvrtc.nvrtcCompileProgram(program, 3, (ctypes.c_char_p * 3)(*given))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    said = log.value.decode()
    return said or ("" if status == 0 else f"status {status}")


def test_the_tests_on_the_processor_find_every_kernel() -> None:
    assert len(KERNEL.findall(SOURCE)) == SOURCE.count("__global__")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
def test_nvrtc_compiles_every_kernel_without_a_warning(real: str, architecture: str) -> None:
    assert compiled(f"typedef {real} T;\n{SOURCE}", architecture) == ""


def test_nvrtc_finds_a_mistake() -> None:
    mistake = SOURCE.replace("T a = z[thread]", "T a = nothing + z[thread]")
    assert "nothing" in compiled(f"typedef float T;\n{mistake}", ARCHITECTURES[0])
