from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrain.arrays.recording import Block, Program, why_no_recordings
from disttrain.model.flat import Layout
from disttrain.model.layer import Parameter
from disttrain.model.products import Product, edges, multiply, products_of, read_in_place


def layout_of(widths: list[int]) -> Layout:
    """Return the layout of dense layers of these widths, the first that of the inputs."""
    return Layout([
        {"weight": Parameter((units, inputs)), "bias": Parameter((units,), decay=False)}
        for inputs, units in pairwise(widths)
    ])  # fmt: skip


LAYOUTS = st.lists(st.integers(1, 40), min_size=2, max_size=5).map(layout_of)
GRID = st.sampled_from([0, 1, 5, 12, 24, 96])


@settings(deadline=None)
@given(LAYOUTS, st.integers(1, 50), st.data())
def test_parts_cover_the_vector_and_keep_the_grids(
    layout: Layout, size: int, data: st.DataObject
) -> None:
    count = len(products_of(layout))
    grids = data.draw(st.lists(GRID, min_size=count, max_size=count))
    products = products_of(layout, grids)
    cuts = edges(products, layout.length, size)
    assert len(cuts) == size + 1
    assert cuts == sorted(cuts)
    assert (cuts[0], cuts[-1]) == (0, layout.length)
    for product in products:
        rows = [product.rows(low, high) for low, high in pairwise(cuts)]
        taken = [row for first, end in rows for row in range(first, end)]
        assert taken == list(range(product.units)), "each row once, in order"
        for first, end in rows:
            if first < end:
                assert first % (product.grid or product.units) == 0
                assert end - first >= min(product.grid or product.units, product.units)
                low, high = product.span(cuts[0], cuts[-1])
                assert low == product.low
                assert high == product.low + product.units * product.inputs


@settings(deadline=None)
@given(LAYOUTS, st.integers(1, 9), st.integers(0, 1000))
def test_parts_make_the_whole_gradient(layout: Layout, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    products = products_of(layout)
    pairs = [
        (random.integers(-9, 9, (6, p.units)) * 1.0, random.integers(-9, 9, (6, p.inputs)) * 1.0)
        for p in products
    ]
    out = np.zeros(layout.length)
    for low, high in pairwise(edges(products, layout.length, size)):
        for product, (d, a) in zip(products, pairs, strict=True):
            multiply(product, d, a, out, *product.rows(low, high))
    for product, (d, a) in zip(products, pairs, strict=True):
        found = layout.views(out)[product.layer]["weight"]
        np.testing.assert_array_equal(found, d.T @ a)
        np.testing.assert_array_equal(layout.views(out)[product.layer]["bias"], 0)


def test_parts_are_as_equal_as_rows_allow() -> None:
    layout = layout_of([784, 800, 10])
    cuts = edges(products_of(layout), layout.length, 4)
    parts = [high - low for low, high in pairwise(cuts)]
    assert max(parts) - min(parts) <= 784 + 800 + 810


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_weight_that_must_not_be_divided_is_one_ranks(size: int) -> None:
    layout = layout_of([9, 20, 30])
    products = products_of(layout, [0, 0])
    cuts = edges(products, layout.length, size)
    for product in products:
        owners = [low < high for low, high in (product.rows(*p) for p in pairwise(cuts))]
        assert owners.count(True) == 1


def test_a_product_knows_its_place() -> None:
    layout = layout_of([3, 4, 2])
    second, first = products_of(layout)
    assert first == Product(0, 4, 3, first.low, first.bias)
    views = layout.views(np.arange(layout.length))
    assert views[0]["weight"][0, 0] == first.low
    assert views[0]["bias"][0] == first.bias
    assert views[1]["weight"][0, 0] == second.low == 0
    assert views[1]["bias"][0] == second.bias


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("samples", "inputs"), [(1, 5), (7, 1), (64, 30), (129, 784)])
def test_a_part_of_the_rows_is_that_of_the_whole_product(
    dtype: str, samples: int, inputs: int
) -> None:
    """In float64 by `einsum`, which calls no BLAS; recorded, the bits are the same."""
    draw = np.random.default_rng(0)
    d = draw.standard_normal((samples, 48)).astype(dtype)
    a = draw.standard_normal((samples, inputs)).astype(dtype)
    product = Product(0, 48, inputs, 3, 0)
    want = np.einsum("si,sj->ij", d.astype("f8"), a.astype("f8"))
    for low, high in [(0, 48), (0, 12), (12, 47), (47, 48), (20, 20)]:
        out = np.full(3 + want.size, 9, dtype)
        multiply(product, d, a, out, low, high)
        rows = out[3:].reshape(want.shape)
        np.testing.assert_allclose(rows[low:high], want[low:high], rtol=1e-4, atol=1e-4)
        assert (np.delete(rows, np.s_[low:high], axis=0) == 9).all()
        if high > low and not why_no_recordings(dtype):
            program, again = Program(dtype), np.empty((high - low, inputs), dtype)
            part = d[:, low:high].T
            program.product(part, a, again, read_in_place(part, a))
            program.replay(Block())
            np.testing.assert_array_equal(again, rows[low:high])
