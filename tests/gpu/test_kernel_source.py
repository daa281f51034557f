"""What the source of the GPU's kernels says, without a GPU: compiled for the processor.

A module that stands for cupy makes a loop of each kernel's text; so formulas, the order of
arguments and the numbers handed on are those of `gpu_kernels`. `test_gpu.py` runs them on a card.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import cpu_kernels
from tests.gpu.source import loaded

COMPILER = shutil.which("g++") or shutil.which("clang++")
if COMPILER is None:
    pytest.skip("no C++ compiler", allow_module_level=True)


class Sources:
    """The functions in C++ of all kernels: one library, compiled when the first is called."""

    def __init__(self, folder: Path) -> None:
        self.texts = ["#include <cmath>\nusing namespace std; typedef double T, float64;\n"]
        self._path = folder / "kernels.cpp"

    @functools.cached_property
    def library(self) -> ctypes.CDLL:
        """The library."""
        self._path.write_text("".join(self.texts))
        made = self._path.with_suffix(".so")
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(made), str(self._path)]
        subprocess.run(command, check=True, timeout=60)
        return ctypes.CDLL(str(made))


class Kernel:
    """A kernel of cupy's, as a loop in C++ over float64."""

    def __init__(self, inputs: str, outputs: str, code: str, sources: Sources) -> None:
        self._names = [part.split() for part in f"{inputs}, {outputs}".split(", ")]
        self._count = len(inputs.split(", "))
        arguments = ", ".join(f"T* {name}_, long {name}_step" for _, name in self._names)
        bound = " ".join(f"T& {name} = {name}_[i * {name}_step];" for _, name in self._names)
        self._sources, self._name = sources, f"run{len(sources.texts)}"
        sources.texts.append(
            f'extern "C" void {self._name}(long n, {arguments}) '
            f"{{ for (long i = 0; i < n; i++) {{ {bound} {code}; }} }}\n"
        )

    def __call__(self, *given: Any) -> None:
        shape = given[-1].shape
        arguments: list[Any] = [ctypes.c_long(given[-1].size)]
        kept = []
        for place, value in enumerate(given):
            scalar = np.ndim(value) == 0
            array = np.broadcast_to(np.asarray(value, "f8"), () if scalar else shape)
            if place < self._count:
                array = np.ascontiguousarray(array)
            assert scalar or array.flags.c_contiguous
            kept.append(array)
            arguments += [array.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(not scalar)]
        getattr(self._sources.library, self._name)(*arguments)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """`gpu_kernels`, with a cupy that makes processor code."""
    sources = Sources(tmp_path_factory.mktemp("kernels"))

    def reduction(
        inputs: str, outputs: str, map_: str, reduce: str, after: str, zero: str, name: str
    ) -> Any:
        assert (inputs, reduce, after, zero) == ("T x", "a + b", "y = a", "0")
        each = Kernel(inputs, outputs, f"y = {map_}", sources)

        def run(x: np.ndarray) -> np.ndarray:
            y = np.empty(x.shape)
            each(x, y)
            return y.sum()

        return run

    return loaded(
        lambda inputs, outputs, code, name: Kernel(inputs, outputs, code, sources), reduction
    )


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("activation", ["identity", "sign", "relu", "tanh", "sigmoid"])
def test_activations(kernels: Any, random: np.random.Generator, activation: str) -> None:
    z, bias, dy = random.normal(size=(5, 7)), random.normal(size=7), random.normal(size=(5, 7))
    found = []
    for module in (cpu_kernels, kernels):
        y, d, db = z.copy(), dy.copy(), np.empty(7)
        module.activate(y, bias, activation)
        module.activation_gradient(d, y, activation, db, np.empty_like(y))
        found.append((y, d, db))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
def test_momentum(kernels: Any, random: np.random.Generator, form: str) -> None:
    start = random.normal(size=(3, 50))
    found = []
    for module in (cpu_kernels, kernels):
        w, v, g = (part.copy() for part in start)
        for _ in range(3):
            module.momentum(form, w, v, g, 0.25, 0.1, 0.9, 0.01)
        found.append((w, v, g))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-12)


@pytest.mark.parametrize(("decay", "keep"), [(0.01, 1.0), (0.0, 0.98)])
def test_adam(kernels: Any, random: np.random.Generator, decay: float, keep: float) -> None:
    start = random.normal(size=(4, 50))
    start[2] *= start[2]
    found = []
    for module in (cpu_kernels, kernels):
        w, m, v, g = (part.copy() for part in start)
        for _ in range(3):
            module.adam(w, m, v, g, 0.25, decay, keep, 0.8, 0.95, 0.1, 1.5, 1e-3)
        found.append((w, m, v, g))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-12)


def test_sums_of_squares(kernels: Any, random: np.random.Generator) -> None:
    x = random.normal(size=100_000)
    (found,) = kernels.square_sums(x)
    assert found == pytest.approx(cpu_kernels.square_sums(x).sum(), rel=1e-13)
