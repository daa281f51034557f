"""Convolution and pooling of a GPU have the bits of images.c: the same source, on the processor."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, compiled_images
from disttrain.arrays.compiled_images import CompiledImages
from disttrain.model.layers.images import window_on
from tests.gpu.cases import FILTERS, POOLS
from tests.gpu.fake_cupy import FakeArray, fake_gpu
from tests.gpu.host_cuda import COMPILER

if COMPILER is None:
    pytest.skip("no C++ compiler", allow_module_level=True)
if not isinstance(Cpu.images, CompiledImages):
    pytest.skip("convolution was installed without a C compiler", allow_module_level=True)
if compiled_images._library("_images").image_level() < 3:
    pytest.skip("this processor has no fused multiply-add: other bits", allow_module_level=True)


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    with fake_gpu(strict=False) as device:
        yield device


def moved(*arrays: np.ndarray) -> list[Any]:
    return [array.copy().view(FakeArray) for array in arrays]


def same(found: Any, wanted: np.ndarray) -> bool:
    """Return whether all bits are the same."""
    return bool(np.asarray(found).tobytes() == np.asarray(wanted).tobytes())


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "filters", "size", "stride", "padding"), FILTERS)
def test_convolution_and_its_gradients_have_the_processors_bits(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, dtype: str, relu: bool, shape: tuple[int, ...],
    filters: int, size: Any, stride: Any, padding: Any,
) -> None:  # fmt: skip
    draw, window = np.random.default_rng(1), window_on(shape, size, stride, padding)
    x = draw.standard_normal((5, *window.image)).astype(dtype)
    weight = draw.standard_normal((*window.size, window.image[2], filters)).astype(dtype)
    bias = draw.standard_normal(filters).astype(dtype)
    dy = draw.standard_normal((5, *window.out, filters)).astype(dtype)

    def found(images: Any, x: Any, weight: Any, bias: Any, dy: Any) -> list[Any]:
        y, dweight, dbias, dx = moved(np.empty_like(dy), weight, bias, x)
        images.convolve(x, weight, bias, window, relu, y)
        images.convolve_gradient(x, y, dy, weight, window, relu, dweight, dbias, dx)
        return [y, dweight, dbias, dx]

    given = x, weight, bias, dy
    wanted = found(Cpu.images, *(array.copy() for array in given))
    # One span: the chain of images.c.
    monkeypatch.setattr(importlib.import_module("disttrain.arrays.gpu_images"), "SUMS", 1)
    for a, b in zip(found(gpu.images, *moved(*given)), wanted, strict=True):
        assert same(a, b)


def test_few_weights_are_summed_in_spans_of_samples_that_are_added_in_order(gpu: Any) -> None:
    draw, window = np.random.default_rng(2), window_on((8, 8, 2), 3, 1, "same")
    x = draw.standard_normal((7, 8, 8, 2)).astype("f4")
    dy = draw.standard_normal((7, 8, 8, 4)).astype("f4")
    weight = np.zeros((3, 3, 2, 4), "f4")
    total = np.zeros_like(weight)
    for n in range(7):  # the span of so few weights is one sample
        one = np.empty_like(weight)
        Cpu.images.convolve_gradient(x[n : n + 1], dy[n : n + 1], dy[n : n + 1].copy(), weight,
                                     window, False, one, None, None)  # fmt: skip
        total = total + one
    xs, dys, weights, dweight = moved(x, dy, weight, weight)
    gpu.images.convolve_gradient(xs, dys, dys, weights, window, False, dweight, None, None)
    assert same(dweight, total)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_pooling_has_the_processors_bits(
    gpu: Any, dtype: str, largest: bool, shape: tuple[int, ...], size: int, stride: int
) -> None:
    draw, window = np.random.default_rng(3), window_on(shape, size, stride, "valid")
    # Whole numbers: several pixels of a window are the largest.
    x = draw.integers(-2, 3, (4, *window.image)).astype(dtype)
    dy = draw.standard_normal((4, *window.out, window.image[2])).astype(dtype)

    def found(images: Any, x: Any, dy: Any) -> list[Any]:
        y, dx = moved(dy, x)
        images.pool(x, largest, window, y)
        images.pool_gradient(x, y, dy, largest, window, dx)
        return [y, dx]

    for a, b in zip(found(gpu.images, *moved(x, dy)), found(Cpu.images, x, dy), strict=True):
        assert same(a, b)


def test_what_is_not_finite_stays_visible(gpu: Any) -> None:
    window = window_on((4, 4, 1), 2, 2, "valid")
    x = np.zeros((1, 4, 4, 1), "f4")
    x[0, 1, 1] = np.nan
    (y,) = moved(np.empty((1, 2, 2, 1), "f4"))
    gpu.images.pool(*moved(x), True, window, y)
    assert np.isnan(y[0, 0, 0, 0])
    assert not np.isnan(y[0, 1:]).any()
    weight, out = moved(np.ones((2, 2, 1, 1), "f4"), np.empty((1, 2, 2, 1), "f4"))
    gpu.images.convolve(*moved(x), weight, None, window, True, out)
    assert np.isnan(out[0, 0, 0, 0])
