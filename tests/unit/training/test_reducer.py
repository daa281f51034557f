"""The reducer of fast mode, alone: what it sends, in which buckets, and what it forgets."""

import numpy as np
import pytest

import disttrain
from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.data import Piece
from disttrain.model import Context, Layer, Network, Parameter, Shape
from disttrain.training.reducers import ShareReducer, Totals
from disttrain.training.reducers.shares import buckets

HEADER = Totals(loss=2.5, correct=3, samples=8, failures=0, stop=1)
WHOLE = Piece(0, 8, 8)
LOSSES = np.array([2.5, *[0.0] * 7])


class Line(Layer):
    """One cache line of parameters."""

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"weight": Parameter((16,))}

    def forward(self, x, ctx: Context):
        return x, lambda dy: dy


def make(bucket: int = 1 << 20) -> ShareReducer:
    settings = disttrain.parse(
        f'data.path = "none"\nmodel.layers = [{{ units = 1 }}]\n'
        f"communication.bucket_mib = {bucket / 2**20}"
    )
    network = Network([Line(), Line(), Line()], (1,), "float32", Cpu(), 1)
    return ShareReducer(Alone(), network, settings)


def finish(reducer: ShareReducer, failed: bool = False) -> Totals:
    return reducer.sum_gradients(8, failed, stop=not failed)


def test_one_rank_has_the_sum_already() -> None:
    reducer = make()
    assert reducer.way == "none"
    reducer.open(0, WHOLE)
    reducer.totals[:] = np.arange(48)
    reducer.add(WHOLE, LOSSES, 3)
    assert finish(reducer) == HEADER
    np.testing.assert_array_equal(reducer.totals, np.arange(48))


@pytest.mark.parametrize("bucket", [4, 64, 1 << 20])
def test_buckets_change_nothing_and_begin_anew_in_each_step(bucket: int) -> None:
    reducer = make(bucket)
    for step in range(3):
        on_ready = reducer.open(0, WHOLE).on_ready
        for end in (16, 32, 48):
            reducer.totals[end - 16 : end] = step + end
            on_ready(end)
        reducer.add(WHOLE, LOSSES, 3)
        assert finish(reducer) == HEADER
        np.testing.assert_array_equal(reducer.totals, np.repeat([16, 32, 48], 16) + step)


def test_a_failed_rank_sends_zeros_and_its_mark() -> None:
    reducer = make()
    reducer.totals[:] = np.nan
    reducer.add(WHOLE, LOSSES, 3)
    assert finish(reducer, failed=True) == Totals(failures=1)
    assert not reducer.totals.any()
    assert finish(reducer) == Totals(stop=1)


def part(number: int, of: int = 3) -> Piece:
    return Piece(number, number + 1, of, 0, number == 0, number == of - 1, alone=False)


def test_parts_are_added_and_forgotten() -> None:
    reducer = make()
    for _ in range(2):
        for number, value in enumerate((1.0, 2.0, 4.0)):
            reducer.open(0, part(number))
            reducer.totals[:] = value
            reducer.add(part(number), np.array([value]), 1)
        assert finish(reducer) == Totals(7, 3, 3, 0, 1)
        np.testing.assert_array_equal(reducer.totals, np.full(48, 7))
    reducer.totals[:] = 3
    finish(reducer)
    np.testing.assert_array_equal(reducer.totals, np.full(48, 3))


def test_a_failure_between_two_parts_leaves_nothing_behind() -> None:
    reducer = make()
    reducer.totals[:] = 5
    reducer.add(part(0), np.ones(1), 1)
    finish(reducer, failed=True)
    reducer.totals[:] = 1
    finish(reducer)
    np.testing.assert_array_equal(reducer.totals, np.ones(48))


def test_the_loss_keeps_double_precision_and_may_be_a_sum_already() -> None:
    exact = 0.1 + 1e-12
    for loss in (np.array([exact]), np.float64(exact), exact):
        reducer = make()
        reducer.add(Piece(0, 1, 1), loss, 0)
        assert reducer.sum_gradients(1, False, False).loss == exact


def test_buckets_end_after_layers_and_do_not_depend_on_a_step() -> None:
    layout = Network([Line(), Line(), Line()], (1,), "float32", Cpu(), 1).layout
    assert buckets(layout, 1) == [16, 32, 48]
    assert buckets(layout, 16) == [16, 32, 48]
    assert buckets(layout, 17) == [32]
    assert buckets(layout, 1000) == []
    assert buckets(layout, 0) == [16, 32, 48]
