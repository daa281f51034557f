"""Each kernel of the processor beside numpy, and beside a copy of as many bytes in memory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.arrays import compiled_kernels, cpu_kernels
from disttrain.bench.turns import in_turns
from disttrain.comm.alone import Alone
from disttrain.errors import UsageError

__all__ = ["FLAGS", "KernelTimes", "measure"]

# Those of an installation (pyproject.toml), for one set of vector instructions each.
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
WIDTHS = {"sse2": [], "avx2": ["-mavx2"], "avx512f": ["-mavx512f"]}
SOURCE = Path(compiled_kernels.__file__).with_name("kernels.c")
# A step of 784-800-10 at batch 128.
ROWS, INPUTS, UNITS, PARAMETERS = 128, 784, 800, 636_010


@dataclass(frozen=True)
class KernelTimes:
    """Seconds of one kernel: in numpy, as installed, as built for each width of vectors.

    `copied` is the time of a copy that reads and writes as many bytes as the kernel.
    """

    name: str
    dtype: str
    bytes: int
    numpy: float
    copied: float
    compiled: dict[str, float]

    @property
    def slowest(self) -> float:
        """Return the slowest build's time over numpy's: above 1 numpy is faster."""
        return max(self.compiled.values()) / self.numpy


def measure(rounds: int, widths: bool) -> list[KernelTimes]:
    """Return the times of all kernels; with `widths`, also built for each width of vectors."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        builds = {"installed": dict(compiled_kernels._functions)}
        if widths:
            builds |= {n: compiled_kernels._load(str(p)) for n, p in built(Path(folder)).items()}
        try:
            for dtype in ("float32", "float64"):
                for name, (moved, call) in calls(dtype).items():
                    found.append(times_of(name, dtype, moved, call, builds, rounds))
        finally:
            compiled_kernels._functions.update(builds["installed"])
    return found


def times_of(
    name: str, dtype: str, moved: int, call: Callable[[Any], Any],
    builds: dict[str, dict[tuple[str, str], Any]], rounds: int,
) -> KernelTimes:  # fmt: skip
    """Return the times of one kernel, which reads and writes `moved` bytes."""
    source, target = np.ones(moved // 2, np.uint8), np.empty(moved // 2, np.uint8)
    ways: dict[str, Callable[[], Any]] = {
        "numpy": lambda: call(cpu_kernels),
        "copied": lambda: np.copyto(target, source),
        **dict.fromkeys(builds, lambda: call(compiled_kernels)),
    }
    seconds = in_turns(
        Alone(),
        ways,
        rounds,
        prepare=lambda way: compiled_kernels._functions.update(builds.get(way, {})),
    )
    return KernelTimes(
        name, dtype, moved, seconds.pop("numpy"), seconds.pop("copied"), seconds
    )  # fmt: skip


def calls(dtype: str) -> dict[str, tuple[int, Callable[[Any], Any]]]:
    """Return for each kernel the bytes that it moves, and a call, given the module that has it."""
    random = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize
    z, dy = (random.standard_normal((ROWS, UNITS)).astype(dtype) for _ in range(2))
    y, scratch, bias, sums = np.maximum(z, 0), z.copy(), np.zeros(UNITS, dtype), z[0].copy()
    stored = random.integers(0, 256, (9999, INPUTS)).astype("u1")
    places = np.arange(0, 128 * 70, 70)
    scale, shift = random.standard_normal((2, INPUTS)).astype(dtype)
    raw, out = np.empty((ROWS, INPUTS), "u1"), np.empty((ROWS, INPUTS), dtype)
    w, m, v, g = (np.abs(random.standard_normal(PARAMETERS)).astype(dtype) for _ in range(4))
    found: dict[str, tuple[int, Callable[[Any], Any]]] = {
        "activate": (2 * z.nbytes, lambda k: k.activate(z, bias, "relu")),
        "activation_gradient": (
            3 * z.nbytes, lambda k: k.activation_gradient(dy, y, "relu", sums, scratch)
        ),
        "gather": (
            ROWS * INPUTS * (1 + size), lambda k: k.gather(stored, places, scale, shift, raw, out)
        ),
        "adam": (
            7 * w.nbytes,
            lambda k: k.adam(w, m, v, g, 0.01, 1e-4, 1.0, 0.9, 0.999, 1e-9, 1.0, 1e-8),
        ),
        "square_sums": (w.nbytes, lambda k: k.square_sums(g)),
    }  # fmt: skip
    for form in compiled_kernels.FORMS:
        found[f"momentum {form}"] = (5 * w.nbytes, partial(_momentum, form, w, m, g))
    return found


def _momentum(form: str, w: Any, m: Any, g: Any, kernels: Any) -> None:
    kernels.momentum(form, w, m, g, 0.01, 1e-9, 0.9, 1e-4)


def built(folder: Path) -> dict[str, Path]:
    """Return a library for each set of vector instructions that this machine has."""
    compiler = shutil.which("gcc")
    if compiler is None or not SOURCE.is_file():
        raise UsageError("--widths builds the kernels and needs gcc, and the sources of disttrain")
    here, found = Path("/proc/cpuinfo").read_text(encoding="utf-8").split(), {}
    for name, flags in WIDTHS.items():
        if name in here:
            found[name] = folder / f"{name}.so"
            command = [compiler, "-shared", "-fPIC", *FLAGS, *flags, "-DKERNEL=", str(SOURCE)]
            subprocess.run([*command, "-o", str(found[name]), "-lm"], check=True)
    return found
