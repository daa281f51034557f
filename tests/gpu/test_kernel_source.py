"""What the GPU's kernels compute: their source, compiled for the processor, beside numpy.

`test_gpu.py` runs them on a card.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace, cpu_kernels
from disttrain.arrays.draws import field, key_of
from disttrain.model import Context
from disttrain.model.losses import WeightedSoftmax
from tests.gpu.fake_cupy import FakeArray, fake_gpu
from tests.gpu.host_cuda import COMPILER

if COMPILER is None:
    pytest.skip("no C++ compiler", allow_module_level=True)

ACTIVATIONS = (
    "identity", "sign", "relu", "tanh", "sigmoid", "leaky-relu", "elu", "silu", "gelu",
)  # fmt: skip


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    with fake_gpu(strict=False) as device:
        yield device


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def moved(*arrays: np.ndarray) -> list[Any]:
    return [array.copy().view(FakeArray) for array in arrays]


@pytest.mark.parametrize("rows", [0, 5, 3000])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(gpu: Any, random: np.random.Generator, activation: str, rows: int) -> None:
    z, dy = random.normal(size=(2, rows, 7))
    found = []
    for kernels in (cpu_kernels, gpu.kernels):
        y, d, bias, db, slope = moved(z, dy, np.linspace(-1, 1, 7), np.empty(7), np.empty_like(z))
        kernels.activate(y, bias, activation, slope)
        kept = slope if activation in cpu_kernels.SLOPED else y
        kernels.activation_gradient(d, kept, activation, db, np.empty_like(d))
        found.append((y, d, db))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_not_finite_stays_visible(gpu: Any, activation: str) -> None:
    z, bias, slope = moved(np.full((1, 1), np.nan), np.zeros(1), np.zeros((1, 1)))
    gpu.kernels.activate(z, bias, activation, slope)
    assert np.isnan(z).all() or activation == "sign"


def test_a_gradient_that_does_not_lie_in_one_run_is_taken_as_it_is(
    gpu: Any, random: np.random.Generator
) -> None:
    y, db = moved(random.normal(size=(4, 6)), np.empty(6))
    dy = np.asfortranarray(random.normal(size=(4, 6))).view(FakeArray)
    want = dy * (y > 0)
    gpu.kernels.activation_gradient(dy, y, "relu", db, y)
    assert np.array_equal(dy, want)
    np.testing.assert_allclose(db, want.sum(axis=0))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(0, 4, 3), (5, 0, 3), (1, 1, 1), (70, 40, 65), (3, 900, 130)])
def test_products_of_any_strides(
    gpu: Any, random: np.random.Generator, dtype: str, shape: tuple[int, int, int]
) -> None:
    rows, depth, columns = shape
    a = random.normal(size=(rows, depth)).astype(dtype)
    b = random.normal(size=(depth, columns)).astype(dtype)
    for left in moved(a, a.T.copy()):
        for right in moved(b, b.T.copy()):
            x = left if left.shape == a.shape else left.T
            y = right if right.shape == b.shape else right.T
            (out,) = moved(np.full((rows, columns), np.nan, dtype))
            assert gpu.dot(x, y, out=out) is out
            near = 1e-4 if dtype == "f4" else 1e-12
            np.testing.assert_allclose(out, a @ b, rtol=near, atol=near * 10)


@pytest.mark.parametrize("units", [2, 10, 77])
def test_softmax(gpu: Any, random: np.random.Generator, units: int) -> None:
    o, classes = 30 * random.normal(size=(6, units)), random.integers(0, units, 6)
    outputs, targets, f, losses = moved(o, classes, o, np.empty(6))
    gpu.losses.softmax(outputs, targets, f, losses)()
    want = np.exp(o - o.max(axis=1, keepdims=True))
    want /= want.sum(axis=1, keepdims=True)
    shares = want[np.arange(6), classes]
    np.testing.assert_allclose(np.exp(-losses), shares, rtol=1e-10)
    want[np.arange(6), classes] -= 1
    np.testing.assert_allclose(f, want, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("of_classes", [False, True])
def test_squared(gpu: Any, random: np.random.Generator, of_classes: bool) -> None:
    o, numbers = random.normal(size=(2, 6, 40))
    classes, factors = random.integers(0, 40, 6), random.random(40)
    targets = classes if of_classes else numbers
    outputs, given, f, losses, times = moved(o, targets, o, np.empty(6), factors)
    gpu.losses.squared(outputs, given, f, losses, times)()
    difference = o - (np.eye(40)[classes] if of_classes else numbers)
    np.testing.assert_allclose(losses, (difference**2 * factors).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(f, 2 * difference, rtol=1e-12)


@pytest.mark.parametrize("units", [1, 3])
def test_the_header_counts_losses_and_right_rows(
    gpu: Any, random: np.random.Generator, units: int
) -> None:
    rows = 700
    o, classes = random.normal(size=(rows, units)), random.integers(0, max(units, 2), rows)
    outputs, targets, losses, header = moved(
        o, classes, random.random(rows), np.array([0, 9, 5, 1.0])
    )
    gpu.losses.tally(losses, header, 1, o.dtype, 2, outputs, targets)()
    right = (o[:, 0] > 0) == classes if units == 1 else o.argmax(axis=1) == classes
    np.testing.assert_allclose(header, [0, 9 + losses.sum(), 5 + right.sum(), 1 + rows], rtol=1e-13)
    (header,) = moved(np.zeros(4))
    gpu.losses.tally(losses, header, 0, o.dtype)()
    assert gpu.total(losses) == header[0]
    assert not header[1:].any()


def test_the_sum_of_losses_of_any_type_and_order(gpu: Any, random: np.random.Generator) -> None:
    for given in (random.random(300).astype("f4"), random.random((300, 2))[:, 0], np.float32(0.25)):
        found = gpu.total(np.asarray(given).view(FakeArray))
        assert float(found) == pytest.approx(float(np.sum(given, dtype="f8")), rel=1e-13)


@pytest.mark.parametrize("units", [3, 77])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_softmax(
    gpu: Any, random: np.random.Generator, smoothing: float, units: int
) -> None:
    o, classes = 30 * random.normal(size=(6, units)), random.integers(0, units, 6)
    loss = WeightedSoftmax(random.random(units), smoothing)
    found = []
    for device in (Cpu(), gpu):
        outputs, targets = moved(o, classes)
        context = Context("loss", device, "float64", Workspace(device.empty), {})
        losses, backward = loss.forward(outputs, targets, context)
        found.append((losses, backward()))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-10, atol=1e-12)
    outputs[2, 1] = np.nan
    assert np.isnan(loss.forward(outputs, targets, context)[0][2])


def test_weights_of_samples_and_the_perceptrons_rule(gpu: Any, random: np.random.Generator) -> None:
    from disttrain.arrays.gpu_notes import launches_of

    samples, weights = np.array([4, 0, 2]), random.random(5).astype("f4")
    losses, d = random.random(3), random.normal(size=(3, 2)).astype("f4")
    given = moved(samples, weights, losses, d, d)
    for name, array, sizes in (("weigh_losses", given[2], (2, 1)),
                               ("weigh_gradient", given[3], (3, 0, 2))):  # fmt: skip
        # Of the losses those behind the first: the sizes say where rows begin.
        part = array[1:] if name == "weigh_losses" else array
        for each in launches_of(name, [part, given[1]], sizes, (), d.dtype, given[0]):
            each()
    assert np.array_equal(given[2], losses * np.r_[1, weights[samples][1:]])
    assert np.array_equal(given[3], d * weights[samples][:, None])
    outputs, classes = np.array([[1.0], [-1], [1], [-1], [0]]), np.array([1, 0, 0, 1, 1])
    o, c, rule, mistakes = moved(outputs, classes, outputs, np.empty(5))
    for each in launches_of("perceptron", [o, c, rule, mistakes], (5,), (), o.dtype, given[0]):
        each()
    assert mistakes.tolist() == [0, 0, 1, 1, 1]
    assert rule[:, 0].tolist() == [0, 0, 1, -1, -1]


def clipped(gpu: Any, sums: np.ndarray, divisor: float, limit: float) -> float:
    """Return the scale that the kernel `clip` finds."""
    block, given = moved(np.array([7.0, 0, 0, 0, divisor, 0]), sums)
    gpu.kernels.launch_blocks("clip", "f4", (1,), (1,), len(sums), given, limit, block)()
    return float(block[0])


def test_clip_has_the_bits_of_an_exact_sum(gpu: Any, random: np.random.Generator) -> None:
    # Half way between two numbers, and a little above; then numbers of all sizes.
    cases = [np.array([1, 2.0**-53]), np.array([2.0**-106, 1, 2.0**-53])]
    for size in (1, 2, 3, 20, 60) * 20:
        cases.append(random.random(size) * 2.0 ** random.integers(-60, 60, size))
    for sums in cases:
        norm = math.sqrt(math.fsum(sums)) / 32
        for limit in (norm / 3, norm * 3):
            assert clipped(gpu, sums, 32.0, limit) == min(1.0, limit / (norm + 1e-6)) / 32
    for bad in ([1, np.inf], [np.nan, 1], [1e308, 1e308]):
        assert np.isnan(clipped(gpu, np.array(bad), 1.0, 1.0))
    assert clipped(gpu, np.zeros(2), 4.0, 1.0) == 0.25


def test_dropout_draws_the_processors_masks(gpu: Any, random: np.random.Generator) -> None:
    x = random.normal(size=(5, 37))
    given, mask, y = moved(x, x, x)
    (key,) = moved(np.frombuffer(key_of(7, "dropout d", 3), "<i8"))
    launch = gpu.kernels.launch("dropout", x.dtype, x.size, 37, 11, 30000, 1.5, key, given, mask, y)
    launch()
    want = 1.5 * (field(5, 37, 11, 7, "dropout d", 3) >= 30000)
    assert np.array_equal(mask, want)
    assert np.array_equal(y, x * want)


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
def test_momentum(gpu: Any, random: np.random.Generator, form: str) -> None:
    start, found = random.normal(size=(3, 300)).astype("f4"), []
    for kernels in (cpu_kernels, gpu.kernels):
        w, v, g = moved(*start)
        for _ in range(3):
            kernels.momentum(form, w, v, g, 0.25, 0.1, 0.9, 0.01)
        found.append((w, v, g))
    for host, card in zip(*found, strict=True):
        assert np.array_equal(card, host)


@pytest.mark.parametrize(("decay", "keep"), [(0.01, 1.0), (0.0, 0.98)])
def test_adam(gpu: Any, random: np.random.Generator, decay: float, keep: float) -> None:
    start, found = random.normal(size=(4, 300)).astype("f4"), []
    start[2] *= start[2]
    for kernels in (cpu_kernels, gpu.kernels):
        w, m, v, g = moved(*start)
        for _ in range(3):
            kernels.adam(w, m, v, g, 0.25, decay, keep, 0.8, 0.95, 0.1, 1.5, 1e-3)
        found.append((w, m, v, g))
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-6)


def test_average_and_sums_of_squares(gpu: Any, random: np.random.Generator) -> None:
    a, x = moved(random.normal(size=100_003), random.normal(size=100_003))
    host = a + (x - a) * 0.25
    gpu.kernels.average(a, x, 0.25)
    np.testing.assert_allclose(a, host, rtol=1e-12)
    assert gpu.kernels.square_sums(x).sum() == pytest.approx(float(x @ x), rel=1e-13)
