"""The probe notices arithmetic that exact mode must not rely on, and plans around it."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import RunFileError, UsageError
from disttrain.model import Dense
from disttrain.model.products import Product, edges, products_of
from disttrain.training import Run, build_run, fit
from disttrain.training.exact import arithmetic, probe
from disttrain.training.exact.trials import draws
from disttrain.training.reducers import Plan

Make = Callable[..., Settings]
EXACT = ("reproducibility.mode=exact", "training.epochs=1")
SHARED = (*EXACT, "reproducibility.arithmetic=shared", "training.batch_size=48")


@pytest.fixture
def exact(settings: Make) -> Callable[..., Run]:
    def make(*changes: str, **more: Any) -> Run:
        run = build_run(settings(*changes), Alone(), **more)
        run.restore(None)
        return run

    return make


def test_products_that_do_not_depend_on_the_rows_beside_them_may_be_divided(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of whole numbers have no rounding: whatever is divided, the bits are the same."""
    real = probe.Probe.products

    def whole(self: probe.Probe, low: int, high: int) -> list[np.ndarray]:
        return [np.rint(array * 8) for array in real(self, low, high)]

    monkeypatch.setattr(probe.Probe, "products", whole)
    plan = exact(*SHARED).arithmetic.plan
    assert not plan.alone
    assert 0 not in plan.grids


def test_a_pass_that_depends_on_its_other_rows_goes_leaf_by_leaf(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Dense.forward

    def dependent(self: Dense, x: Any, ctx: Any) -> Any:
        y, backward = forward(self, x, ctx)
        y += np.float32(1e-3) * len(x)
        return y, backward

    monkeypatch.setattr(Dense, "forward", dependent)
    run = exact(*SHARED)
    assert run.arithmetic.plan[:3] == (True, 1, False)
    fit(run)


def test_a_backward_pass_that_depends_on_its_other_rows_is_noticed_too(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Dense.forward

    def dependent(self: Dense, x: Any, ctx: Any) -> Any:
        y, backward = forward(self, x, ctx)

        def other(dy: Any) -> Any:
            dx = backward(dy)
            return dx if dx is None else dx * np.float32(1 + 1e-3 * len(x))

        return y, other

    monkeypatch.setattr(Dense, "forward", dependent)
    assert exact(*SHARED).arithmetic.plan.alone


def test_kernels_that_need_a_grid_get_one(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those for AVX2: rows behind the last whole tile of 12 are treated in another way."""
    forward = Dense.forward

    def tiled(self: Dense, x: Any, ctx: Any) -> Any:
        y, backward = forward(self, x, ctx)
        y[len(y) // 12 * 12 :] += np.float32(1e-3)
        return y, backward

    monkeypatch.setattr(Dense, "forward", tiled)
    plan = exact(*SHARED).arithmetic.plan
    assert (plan.alone, plan.grid) == (False, 12)


def test_a_gradient_whose_rows_depend_on_each_other_is_one_ranks(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = probe.multiply

    def dependent(product: Any, d: Any, a: Any, out: Any, low: int, high: int) -> None:
        real(product, d, a, out, low, high)
        if product.layer == 1 and high > low:
            begin = product.low + low * product.inputs
            out[begin : product.low + high * product.inputs] += np.float32(1e-2) * (high - low)

    monkeypatch.setattr(probe, "multiply", dependent)
    run = exact(*SHARED, "model.layers=[{units=60}, {units=200}, {units=3}]")
    layers = [product.layer for product in run.work.reducer.products]
    grids = dict(zip(layers, run.arithmetic.plan.grids, strict=True))
    assert grids[1] == 0
    assert grids[0] != 0


@pytest.mark.parametrize("left", [11, 9, 2])
def test_gradients_are_tried_for_the_ranks_that_a_loss_leaves(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """12 ranks may become 11, of which some have rows that none of 12 had."""
    run = exact(*SHARED, "model.layers=[{units=60}, {units=3}]")
    layout = run.network.layout
    tried: set[tuple[int, int, int]] = set()
    real = probe.multiply

    def noted(product: Any, d: Any, a: Any, out: Any, low: int, high: int) -> None:
        tried.add((product.layer, low, high))
        real(product, d, a, out, low, high)

    monkeypatch.setattr(probe, "multiply", noted)
    monkeypatch.setattr(run, "comm", SimpleNamespace(size=12, phase=lambda _: None))
    plan = probe.Probe(run, 1024, 3, 3).divisible([48])
    products = products_of(layout, plan.grids)
    for part in pairwise(edges(products, layout.length, left)):
        rows = {(p.layer, *p.rows(*part)) for p in products}
        whole = {(p.layer, 0, p.units) for p in products}
        assert {row for row in rows - whole if row[1] < row[2]} <= tried


def test_trials_draw_all_the_digits_of_the_runs_numbers_and_more_often_where_they_are_few() -> None:
    few, many = (list(draws(Product(0, n, n, 0, 0), n, "float64", 28)) for n in (5, 200))
    assert len(few) > 10 * len(many) > 10
    for x, w, dy in few:
        assert (x.shape, w.shape, dy.shape) == ((5, 5),) * 3
        assert (x != x.astype("f4")).all()
    assert len({x[0, 0] for x, _, _ in few}) == len(few)


def test_a_blas_that_does_not_repeat_itself_is_refused(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = Dense.forward, iter(range(10**6))

    def unsteady(self: Dense, x: Any, ctx: Any) -> Any:
        y, backward = forward(self, x, ctx)
        y += np.float32(1e-3) * next(calls)
        return y, backward

    monkeypatch.setattr(Dense, "forward", unsteady)
    with pytest.raises(UsageError, match=r"other bits the second time.*mode = \"fast\"") as caught:
        exact(*EXACT)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("way", ["leaves", "shared"])
@pytest.mark.parametrize("rows", [1, 2, 3, 16, 1024])
def test_kernels_of_every_size_of_a_pass_are_tried(
    exact: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, way: str, rows: int
) -> None:
    """99 rows in batches of 16: 8 leaves of 2; then 3: leaves of 1; validation in blocks of 1024.

    A processor that differs only in one of them would else go on with a run of another's.
    """
    changes = (*EXACT, f"reproducibility.arithmetic={way}")
    before = exact(*changes).arithmetic
    forward = Dense.forward

    def other(self: Dense, x: Any, ctx: Any) -> Any:
        y, backward = forward(self, x, ctx)
        if len(x) == rows:
            y += np.float32(1e-3)
        return y, backward

    monkeypatch.setattr(Dense, "forward", other)
    used = {1024} | ({1, 2} if before.plan.alone else set())
    used |= {3, 16} if way == "shared" else set()
    assert (exact(*changes).arithmetic.probe != before.probe) == (rows in used)


def test_which_leaves_and_parts_of_leaves_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arithmetic.leaf_sizes([16, 3], 8) == [2, 1]
    assert arithmetic.leaf_sizes([150], 8) == [19, 18]
    assert arithmetic.leaf_sizes([3], 8) == [1]
    monkeypatch.setattr("disttrain.data.division.PIECE_ROWS", 8)
    assert arithmetic.leaf_sizes([150], 8) == [8, 3, 2]


def test_ranks_that_divide_gradients_in_other_ways_are_refused(settings: Make) -> None:
    """Both compute the same bits, but would not agree on who computes which."""
    here = arithmetic.Arithmetic("shared", 8, Plan(False, 1, False, (12, 24)), "x", "p")
    there = arithmetic.Arithmetic("shared", 8, Plan(False, 1, False, (12, 12)), "x", "p")
    with pytest.raises(UsageError, match="other bits than rank 0"):
        arithmetic.refuse_other_bits(here, there, "rank 0", Alone())
    arithmetic.refuse_other_bits(here, there, arithmetic.RECORDED, Alone())


def test_what_is_kept_comes_back() -> None:
    made = arithmetic.Arithmetic("shared", 8, Plan(False, 12, True, (12, 0)), "blas", "abc")
    import json

    assert arithmetic.Arithmetic.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_shared_products_that_can_not_be_had_are_refused(exact: Callable[..., Run]) -> None:
    with pytest.raises(RunFileError, match=r"more than 8192.*\"leaves\""):
        arithmetic.kind_of("shared", exact(*EXACT), [9000], (3, 3))
