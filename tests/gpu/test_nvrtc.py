"""The GPU's kernels are CUDA: NVRTC, which needs no GPU, compiles each for float and double.

Those of cupy's elementwise form are written out as loops first; those in `disttrain/arrays/cuda`
are compiled as they stand.

`pip install nvidia-cuda-nvrtc-cu12` switches these tests on.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
from typing import Any

import pytest

from tests.gpu.host_cuda import FOLDER, KERNEL
from tests.gpu.source import loaded

PLACE = importlib.util.find_spec("nvidia")
FOUND = [
    path
    for folder in (PLACE.submodule_search_locations or [] if PLACE else [])
    for path in glob.glob(f"{folder}/*/lib/libnvrtc.so.*")
]
if not FOUND:
    pytest.skip("no NVRTC: pip install nvidia-cuda-nvrtc-cu12", allow_module_level=True)

ARCHITECTURES = ("sm_75", "sm_90")


def sources() -> dict[str, str]:
    """Return each kernel as a loop of CUDA over `T`, by its name."""
    found: dict[str, str] = {}

    def elementwise(inputs: str, outputs: str, code: str, name: str) -> None:
        # As in cupy: inputs can't be written to.
        inside = [part.split() for part in inputs.split(", ")]
        outside = [part.split() for part in outputs.split(", ")]
        arguments = ", ".join([f"const {t}* {n}_" for t, n in inside] +
                              [f"{t}* {n}_" for t, n in outside])  # fmt: skip
        bound = " ".join([f"const {t} {n} = {n}_[i];" for t, n in inside] +
                         [f"{t}& {n} = {n}_[i];" for t, n in outside])  # fmt: skip
        found[name] = (
            f'extern "C" __global__ void {name}(long long count, {arguments}) {{\n'
            "  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;\n"
            f"  if (i < count) {{ {bound} {code}; }}\n}}\n"
        )

    def reduction(inputs: str, outputs: str, each: str, *_: str) -> None:
        elementwise(inputs, outputs, f"y = {each}", "square_sum")

    loaded(elementwise, reduction)
    return found


SOURCES = sources()
FILES = "".join(path.read_text() for path in sorted(FOLDER.glob("*.cu")))


def compiled(source: str, architecture: str) -> str:
    """Return what NVRTC says of a source: "" where it compiles."""
    nvrtc, program = ctypes.CDLL(FOUND[0]), ctypes.c_void_p()
    given = [f"--gpu-architecture={architecture}".encode(), b"--disable-warnings"]
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    )
    assert status == 0
    status = nvrtc.nvrtcCompileProgram(program, 2, (ctypes.c_char_p * 2)(*given))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    said = log.value.decode()
    return said or ("" if status == 0 else f"status {status}")


def test_all_kernels_are_there() -> None:
    # What the tests on the processor find is all that is there.
    assert len(KERNEL.findall(FILES)) == FILES.count("__global__")
    assert {"adam", "average", "square_sum", "activate_relu", "momentum_nesterov"} <= set(SOURCES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
def test_nvrtc_compiles_every_kernel(real: str, architecture: str) -> None:
    types: Any = f"typedef {real} T; typedef double float64;\n"
    assert compiled(types + "".join(SOURCES.values()), architecture) == ""
    assert compiled(types + FILES, architecture) == ""


def test_nvrtc_finds_a_mistake() -> None:
    mistake = SOURCES["activate_relu"].replace("y = ", "y == nothing + ")
    assert "nothing" in compiled(f"typedef float T;\n{mistake}", ARCHITECTURES[0])
