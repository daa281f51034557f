"""Time of each compiled kernel beside the same in numpy, for each width of vectors.

    python benchmarks/kernels.py [--rounds N]

Builds `kernels.c` by the flags of an installation for SSE2, AVX2 and AVX-512 alone, as far as this
machine has them; `installed` chooses among these when it is loaded. Shapes are those of a step of
784-800-10 at batch 128; the least of all rounds is printed, as other programs only add to it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker import machine

from disttrain.arrays import compiled_kernels, cpu_kernels

ROOT = Path(__file__).parents[1]
WIDTHS = {"sse2": [], "avx2": ["-mavx2"], "avx512f": ["-mavx512f"]}
ROWS, INPUTS, UNITS, PARAMETERS = 128, 784, 800, 636_010


def calls(dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Return a call of each kernel, given the module that has it."""
    random = np.random.default_rng(0)
    z, dy = (random.standard_normal((ROWS, UNITS)).astype(dtype) for _ in range(2))
    y, scratch, bias, sums = np.maximum(z, 0), z.copy(), np.zeros(UNITS, dtype), z[0].copy()
    stored, places = (
        random.integers(0, 256, (9999, INPUTS)).astype("u1"),
        np.arange(0, 128 * 70, 70),
    )
    scale, shift = random.standard_normal((2, INPUTS)).astype(dtype)
    raw, out = np.empty((ROWS, INPUTS), "u1"), np.empty((ROWS, INPUTS), dtype)
    w, m, v, g = (np.abs(random.standard_normal(PARAMETERS)).astype(dtype) for _ in range(4))
    found: dict[str, Callable[[Any], Any]] = {
        "activate": lambda k: k.activate(z, bias, "relu"),
        "activation_gradient": lambda k: k.activation_gradient(dy, y, "relu", sums, scratch),
        "gather": lambda k: k.gather(stored, places, scale, shift, raw, out),
        "adam": lambda k: k.adam(w, m, v, g, 0.01, 1e-4, 1.0, 0.9, 0.999, 1e-9, 1.0, 1e-8),
        "square_sums": lambda k: k.square_sums(g),
    }
    for form in compiled_kernels.FORMS:
        found[f"momentum {form}"] = lambda k, form=form: k.momentum(
            form, w, m, g, 0.01, 1e-9, 0.9, 1e-4
        )
    return found


def libraries(folder: Path) -> dict[str, Any]:
    """Return the functions of the library: as installed, and built for each width."""
    found = {"installed": compiled_kernels._load()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (module,) = project["tool"]["setuptools"]["ext-modules"]
    here = Path("/proc/cpuinfo").read_text().split()
    for name, flags in WIDTHS.items():
        if name in here:
            path = folder / f"{name}.so"
            command = ["gcc", "-shared", "-fPIC", *module["extra-compile-args"], *flags]
            command += ["-DKERNEL=", str(ROOT / module["sources"][0]), "-o", str(path), "-lm"]
            subprocess.run(command, check=True)
            found[name] = compiled_kernels._load(str(path))
    return found


def main() -> None:
    """Measure all in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        built = libraries(Path(folder))
    print(f"{'microseconds, the least':28}" + "".join(f"{c:>11}" for c in ["numpy", *built]))
    for dtype in ("float32", "float64"):
        for name, call in calls(dtype).items():
            times: dict[str, list[float]] = {column: [] for column in ["numpy", *built]}
            for _ in range(rounds):
                for column, own in times.items():
                    compiled_kernels._functions.update(built.get(column, {}))
                    begin = time.perf_counter()
                    call(cpu_kernels if column == "numpy" else compiled_kernels)
                    own.append(1e6 * (time.perf_counter() - begin))
            row = "".join(f"{min(own):11.0f}" for own in times.values())
            print(f"{dtype} {name:20}{row}")
    print(machine())


if __name__ == "__main__":
    main()
