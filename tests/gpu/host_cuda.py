"""The CUDA source in `disttrain/arrays/cuda`, compiled for the processor: kernels run as loops.

A thin header stands for CUDA: threads run one after the other; those of a block that wait for each
other (`__syncthreads`) are fibers that take turns. The arithmetic is that of the source, with `fma`
where it stands and no other contraction, so its bits can be compared. What only a GPU shows (races,
speed, limits) is not seen here.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COMPILER", "FOLDER", "Module"]

COMPILER = shutil.which("g++")
FOLDER = Path(__file__).parents[2] / "disttrain" / "arrays" / "cuda"
HEADER = r"""
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <ucontext.h>
using std::fma; using std::tanh; using std::expm1; using std::exp; using std::log; using std::sqrt;
using std::fabs;
#define __global__
#define __device__ static inline
#define __shared__ static
struct Place { int x = 0, y = 0, z = 0; };
static Place blockIdx, blockDim, threadIdx, gridDim;
static const int MOST_ = 1024, STACK_ = 65536;
static ucontext_t scheduler_, fibers_[MOST_];
static char *stacks_ = nullptr;
static bool done_[MOST_];
static int now_;
static std::function<void()> body_;
static void fiber_() { body_(); done_[now_] = true; }
static void __syncthreads() { swapcontext(&fibers_[now_], &scheduler_); }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static void place_(int t) {
    threadIdx.x = t % blockDim.x, threadIdx.y = t / blockDim.x;
    now_ = t;
}
static void together_(int threads) {
    if (!stacks_) stacks_ = (char *)malloc((size_t)MOST_ * STACK_);
    for (int t = 0; t < threads; t++) {
        getcontext(&fibers_[t]);
        fibers_[t].uc_stack.ss_sp = stacks_ + (size_t)t * STACK_;
        fibers_[t].uc_stack.ss_size = STACK_;
        fibers_[t].uc_link = &scheduler_;
        makecontext(&fibers_[t], fiber_, 0);
        done_[t] = false;
    }
    for (int left = threads; left;) {
        left = 0;
        for (int t = 0; t < threads; t++)
            if (!done_[t]) {
                place_(t);
                swapcontext(&scheduler_, &fibers_[t]);
                left += !done_[t];
            }
    }
}
static void run_(const int *size, bool meet, std::function<void()> body) {
    gridDim = {size[0], size[1], size[2]};
    blockDim = {size[3], size[4], 1};
    body_ = body;
    int threads = size[3] * size[4];
    for (int z = 0; z < size[2]; z++)
        for (int y = 0; y < size[1]; y++)
            for (int x = 0; x < size[0]; x++) {
                blockIdx = {x, y, z};
                if (meet) together_(threads);
                else for (int t = 0; t < threads; t++) { place_(t); body_(); }
            }
}
"""
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\) \{(.*?)\n\}\n', re.DOTALL)


class Module:
    """What `cupy.RawModule` is for CUDA: the kernels of a source, as functions."""

    def __init__(self, code: str = "", options: tuple[str, ...] = ()) -> None:
        assert "--fmad=false" in options
        self._kernels = {name: kinds(given) for name, given, _ in KERNEL.findall(code)}
        self._library = compiled(code)

    def get_function(self, name: str) -> Callable[..., None]:
        """Return a kernel: called with a grid, a block and arguments, as CuPy's are."""
        run, wanted = self._library[f"run_{name}"], self._kernels[name]

        def function(grid: tuple[int, ...], block: tuple[int, ...], given: tuple[Any, ...]) -> None:
            assert all(0 < side < 2**31 for side in grid)
            assert all(side < 2**16 for side in grid[1:])
            assert 0 < np.prod(block) <= 1024
            size = (ctypes.c_int * 5)(*[*grid, 1, 1][:3], *[*block, 1][:2])
            held = [passed(a, kind) for a, kind in zip(given, wanted, strict=True)]
            run(size, (ctypes.c_void_p * len(held))(*[a.ctypes.data for a in held]))

        return function


def kinds(given: str) -> list[str]:
    """Return the types of a kernel's arguments."""
    parts = [" ".join(part.split()) for part in given.split(",")]
    return ["*" if "*" in part else part.split()[-2] for part in parts]


def passed(given: Any, kind: str) -> np.ndarray:
    """Return an argument as the number or the address that a kernel is given."""
    if kind == "*" and isinstance(given, np.ndarray):
        return np.array([given.ctypes.data], np.uint64)
    want = {"*": np.uint64, "int": np.int32, "double": np.float64, "long": np.int64}[kind]
    assert type(given) is want, f"a kernel wants {kind} and gets {type(given)}"
    return np.array([given])


@functools.cache
def compiled(code: str) -> ctypes.CDLL:
    """Return the library of a source."""
    assert COMPILER
    made = [HEADER, code]
    for name, given, body in KERNEL.findall(code):
        types = [re.sub(r"\w+$", "", part.strip()) for part in given.split(",")]
        arguments = ", ".join(f"*({t} *)p[{n}]" for n, t in enumerate(types))
        meet = "true" if "__syncthreads" in body else "false"
        made.append(
            f'extern "C" void run_{name}(const int *size, void **p) '
            f"{{ run_(size, {meet}, [=] {{ {name}({arguments}); }}); }}\n"
        )
    level = ["-mfma"] if "fma" in Path("/proc/cpuinfo").read_text().split() else []
    text = "".join(made)
    # Compiled once for all processes of a test run.
    key = hashlib.sha256((text + str(level)).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"disttrain-tests-{os.getuid()}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix="disttrain-cuda-") as folder:
            (Path(folder) / "k.cpp").write_text(text)
            command = [COMPILER, "-std=c++17", "-shared", "-fPIC", "-O2", "-ffp-contract=off",
                       *level, "-w", "-o", f"{folder}/k.so", f"{folder}/k.cpp"]  # fmt: skip
            subprocess.run(command, check=True, timeout=100)
            own = library.with_suffix(f".{os.getpid()}")
            shutil.copy(f"{folder}/k.so", own)
            own.replace(library)
    return ctypes.CDLL(str(library))
