"""The compiled kernels give the bits of those in numpy, so a host without a compiler differs in
nothing but time; and so do those for each width of vectors."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from disttrain.arrays import cpu_kernels

compiled = pytest.importorskip(
    "disttrain.arrays.compiled_kernels", reason="installed without a C compiler"
)

DTYPES = ["f4", "f8"]
ROOT = Path(__file__).parents[3]
# As a host has them: the name in /proc/cpuinfo.
WIDTHS = {"as installed": None, "sse2": [], "avx2": ["-mavx2"], "avx512f": ["-mavx512f"]}


@pytest.fixture(scope="module", params=WIDTHS, autouse=True)
def _width(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Have the library built for one width of vectors, by the flags of an installation."""
    flags = WIDTHS[request.param]
    if flags is None:
        yield
        return
    here = Path("/proc/cpuinfo")
    gcc = shutil.which("gcc")
    if gcc is None or not here.exists() or request.param not in here.read_text().split():
        pytest.skip(f"no gcc, or no {request.param}, here")
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module = project["tool"]["setuptools"]["ext-modules"][0]
    command = [gcc, "-shared", "-fPIC", *module["extra-compile-args"], *flags, "-DKERNEL="]
    subprocess.run(
        [*command, str(ROOT / module["sources"][0]), "-o", str(library), "-lm"],
        check=True, timeout=100,
    )  # fmt: skip
    installed = dict(compiled._functions)
    compiled._functions.update(compiled._load(str(library)))
    yield
    compiled._functions.update(installed)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.tobytes() == b.tobytes()


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 37])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_activation_and_its_gradient(
    random: np.random.Generator, dtype: str, rows: int, activation: str
) -> None:
    bias = random.standard_normal(19).astype(dtype)
    z = random.standard_normal((rows, 19)).astype(dtype)
    dy = random.standard_normal((rows, 19)).astype(dtype)
    if rows > 1:
        # Infinity times the derivative 0 is no number, and must stay visible.
        z[1, 3], z[1, 4], dy[1, 4], z[2, 5], dy[2, 5] = np.nan, -9, np.inf, -9, np.nan
    found = []
    with np.errstate(invalid="ignore"):
        for kernels in (cpu_kernels, compiled):
            y, d, db = z.copy(), dy.copy(), np.empty(19, dtype)
            kernels.activate(y, bias, activation)
            kernels.activation_gradient(d, y, activation, db, np.empty_like(y))
            found.append((y, d, db))
    assert all(map(same_bits, *found))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
@pytest.mark.parametrize("decay", [0.0, 1e-3])
@pytest.mark.parametrize("length", [0, 1, 1000, (1 << 15) + 5])
def test_update(
    random: np.random.Generator, dtype: str, form: str, decay: float, length: int
) -> None:
    start = random.standard_normal((3, length)).astype(dtype)
    found = []
    for kernels in (cpu_kernels, compiled):
        w, v, g = (part.copy() for part in start)
        counts = [kernels.momentum(form, w, v, g, 1 / 128, 0.1, 0.9, decay) for _ in range(3)]
        found.append((w, v, g, np.array(counts, "u8")))
    assert all(map(same_bits, *found))
    assert same_bits(found[0][2], start[2]), "the summed gradients are left as they are"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 1000, (1 << 15) + 5])
def test_average(random: np.random.Generator, dtype: str, length: int) -> None:
    start = random.standard_normal((2, length)).astype(dtype)
    found = []
    for kernels in (cpu_kernels, compiled):
        a, w = (part.copy() for part in start)
        for part in (1.0, 0.37, 1e-3):
            kernels.average(a, w, part)
        found.append((a, w))
    assert all(map(same_bits, *found))
    assert same_bits(found[0][1], start[1]), "the weights are left as they are"
    np.testing.assert_allclose(found[0][0], start[1], atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("decay", "keep"), [(0.0, 1.0), (1e-3, 1.0), (0.0, 0.999)])
@pytest.mark.parametrize("length", [0, 1, 1000, (1 << 15) + 5])
def test_adam(
    random: np.random.Generator, dtype: str, decay: float, keep: float, length: int
) -> None:
    start = random.standard_normal((4, length)).astype(dtype)
    start[2] *= start[2]
    # Numbers that are too small, too large, or none.
    odd = [[1] * 6, [0] * 6, [0, 0, 1e-38, 0, 0, 0], [0, 1e-30, 1e-22, 1e30, np.inf, np.nan]]
    start[:, :6] = np.array(odd)[:, :length]
    found = []
    with np.errstate(all="ignore"):
        for kernels in (cpu_kernels, compiled):
            w, m, v, g = (part.copy() for part in start)
            counts = [
                kernels.adam(w, m, v, g, 1 / 128, decay, keep, 0.9, 0.999, 0.01, root, 1e-8)
                for root in (31.6, 22.4, 18.3)
            ]
            found.append((w, m, v, g, np.array(counts, "u8")))
    assert all(map(same_bits, *found))
    assert same_bits(found[0][3], start[3]), "the summed gradients are left as they are"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vector", [0, 1, 2])
@pytest.mark.parametrize("kernels", [cpu_kernels, compiled])
def test_adam_counts_the_bits_that_it_reads(
    random: np.random.Generator, dtype: str, vector: int, kernels: ModuleType
) -> None:
    start = np.abs(random.standard_normal((4, 40))).astype(dtype)

    def counted(vectors: np.ndarray) -> int:
        w, m, v, g = (part.copy() for part in vectors)
        with np.errstate(all="ignore"):
            return kernels.adam(w, m, v, g, 1.0, 0.0, 1.0, 0.9, 0.999, 0.01, 1.0, 1e-8)

    words = start.view(f"u{start.itemsize}")
    plain = counted(start)
    assert plain == int(words[:3].astype("O").sum()) % 2 ** (8 * start.itemsize)
    for bit in range(8 * start.itemsize):
        words[vector, 17] ^= words.dtype.type(1 << bit)
        assert counted(start) != plain
        words[vector, 17] ^= words.dtype.type(1 << bit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vector", [0, 1])
@pytest.mark.parametrize("kernels", [cpu_kernels, compiled])
def test_an_update_counts_the_bits_that_it_reads(
    random: np.random.Generator, dtype: str, vector: int, kernels: ModuleType
) -> None:
    start = random.standard_normal((3, 40)).astype(dtype)

    def counted(vectors: np.ndarray) -> int:
        w, v, g = (part.copy() for part in vectors)
        return kernels.momentum("classical", w, v, g, 1.0, 0.1, 0.9, 0.0)

    words = start.view(f"u{start.itemsize}")
    plain = counted(start)
    assert plain == int(words[:2].astype("O").sum()) % 2 ** (8 * start.itemsize)
    for bit in range(8 * start.itemsize):
        words[vector, 17] ^= words.dtype.type(1 << bit)
        assert counted(start) != plain
        words[vector, 17] ^= words.dtype.type(1 << bit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 63, 1000, 1 << 15, (1 << 16) + 65])
def test_sums_of_squares(random: np.random.Generator, dtype: str, length: int) -> None:
    x = (random.standard_normal(length) * 10.0 ** random.integers(-9, 9, length)).astype(dtype)
    plain, fast = cpu_kernels.square_sums(x), compiled.square_sums(x)
    assert same_bits(plain, fast)
    blocks = [x[low : low + (1 << 15)].astype("f8") for low in range(0, length, 1 << 15)]
    np.testing.assert_allclose(plain, [(b * b).sum() for b in blocks], rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(random: np.random.Generator, dtype: str) -> None:
    stored = random.integers(0, 256, (50, 33)).astype("u1")
    places = random.integers(0, 50, 20)
    scale, shift = random.standard_normal((2, 33)).astype(dtype)
    found = []
    for kernels in (cpu_kernels, compiled):
        out, raw = np.empty((20, 33), dtype), np.empty((20, 33), "u1")
        kernels.gather(stored, places, scale, shift, raw, out)
        found.append(out)
    assert same_bits(*found)
