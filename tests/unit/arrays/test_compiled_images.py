"""Convolution and pooling in C: numpy's numbers, and rows that do not depend on their company."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, compiled_images
from disttrain.arrays.compiled_images import CompiledImages
from disttrain.arrays.images import Images
from disttrain.model.layers.images import window_on

BUILDS = [
    name for name in ("_images", "_images_v3", "_images_v4")
    if importlib.util.find_spec(f"disttrain.arrays.{name}")
]  # fmt: skip
if not BUILDS:
    pytest.skip("installed without a C compiler", allow_module_level=True)

# Shape of a sample, filters, size, stride, padding.
FILTERS: list[tuple[Any, ...]] = [
    ((28, 28), 6, 5, 1, "same"), ((14, 14, 6), 16, 5, 1, "valid"), ((9, 7, 3), 20, 3, 1, "same"),
    ((9, 8, 5), 40, (3, 2), (2, 1), 2), ((10, 11, 2), 33, 3, 3, "valid"), ((12,), 5, 5, 1, 2),
    ((5, 5, 17), 1, 1, 1, "same"), ((8, 8, 24), 64, 3, 1, "same"), ((6, 6, 2), 7, 3, 2, "same"),
    ((3, 3, 4), 9, 3, 1, 4), ((40, 3), 8, (2, 3), 1, "valid"),
    # By tiles of Winograd's: odd and even sides, borders of 0, 1 and 2.
    ((8, 8, 32), 32, 3, 1, "same"), ((9, 7, 16), 48, 3, 1, "valid"), ((5, 6, 48), 16, 3, 1, 2),
    ((7, 140, 16), 16, 3, 1, "same"),
]  # fmt: skip
POOLS = [
    ((6, 6, 3), 2, 2),
    ((7, 7, 6), 3, 2),
    ((9, 9, 20), 3, 3),
    ((8, 8, 33), 2, 1),
    ((12,), 3, 2),
    # Channels that fill vectors: windows beside each other, not to the edges, and apart.
    ((8, 6, 32), 2, 2),
    ((7, 9, 16), 2, 2),
    ((9, 9, 16), 3, 3),
    ((9, 8, 16), 2, 3),
    ((6, 6, 16), 3, 1),
]


@pytest.fixture(params=BUILDS)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CompiledImages:
    library = compiled_images._library
    level = library("_images").image_level()
    if {"_images_v3": 3, "_images_v4": 4}.get(request.param, 0) > level:
        pytest.skip("this processor lacks its instructions")
    monkeypatch.setattr(compiled_images, "_library", lambda name: library(request.param))
    return CompiledImages()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("dtype", "near"), [("f4", 3e-5), ("f8", 1e-12)])
@pytest.mark.parametrize(("shape", "filters", "size", "stride", "padding"), FILTERS)
def test_convolution_is_numpys_and_a_row_is_its_own(
    compiled: CompiledImages, dtype: str, near: float, relu: bool, shape: tuple[int, ...],
    filters: int, size: Any, stride: Any, padding: Any,
) -> None:  # fmt: skip
    draw = np.random.default_rng(0)
    window = window_on(shape, size, stride, padding)

    def normal(*of: int) -> np.ndarray[Any, Any]:
        return draw.standard_normal(of).astype(dtype)

    x, w, b = (
        normal(3, *window.image),
        normal(*window.size, window.image[2], filters),
        normal(filters),
    )
    dy, found = normal(3, *window.out, filters), []
    for images in (Images(np), compiled):
        y, dw, db, dx = (np.full_like(like, np.nan) for like in (dy, w, b, x))
        images.convolve(x, w, b, window, relu, y)
        images.convolve_gradient(x, y, dy.copy(), w, window, relu, dw, db, dx)
        found.append((y, dw, db, dx))
    for want, have in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=near * np.abs(want).max(initial=1))
    alone, dx = np.empty_like(dy[1:2]), np.empty_like(x[1:2])
    compiled.convolve(x[1:2], w, b, window, relu, alone)
    compiled.convolve_gradient(x[1:2], alone, dy[1:2].copy(), w, window, relu, w.copy(), None, dx)
    np.testing.assert_array_equal(alone, found[1][0][1:2])
    np.testing.assert_array_equal(dx, found[1][3][1:2])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_pooling_is_numpys(
    compiled: CompiledImages, dtype: str, largest: bool, shape: tuple[int, ...], size: int,
    stride: int,
) -> None:  # fmt: skip
    draw = np.random.default_rng(1)
    window = window_on(shape, size, stride, "valid")
    # Many equal numbers: the first of them gets the gradient.
    x = np.maximum(draw.standard_normal((3, *window.image)), 0).astype(dtype)
    dy, found = draw.standard_normal((3, *window.out, window.image[2])).astype(dtype), []
    for images in (Images(np), compiled):
        y, dx = np.full_like(dy, np.nan), np.full_like(x, np.nan)
        images.pool(x, largest, window, y)
        images.pool_gradient(x, y, dy.copy(), largest, window, dx)
        found.append((y, dx))
    for want, have in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


def test_a_number_that_is_not_one_stays_visible(compiled: CompiledImages) -> None:
    window = window_on((4, 4, 3), 2, 2, "valid")
    x = np.ones((1, 4, 4, 3), "f4")
    x[0, 1, 1, 2] = np.nan
    y = np.empty((1, 2, 2, 3), "f4")
    compiled.pool(x, True, window, y)
    assert np.isnan(y[0, 0, 0, 2])
    assert np.isnan(y).sum() == 1
    filters, out = np.ones((2, 2, 3, 5), "f4"), np.empty((1, 2, 2, 5), "f4")
    compiled.convolve(x, filters, None, window, True, out)
    assert np.isnan(out[0, 0, 0]).all()


def test_the_processor_has_the_compiled_kernels() -> None:
    assert isinstance(Cpu().images, CompiledImages)
