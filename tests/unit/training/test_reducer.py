import numpy as np
import pytest

import disttrain
from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.model import Parameter
from disttrain.model.flat import Layout
from disttrain.training.reducer import Reducer, Totals, buckets

HEADER = Totals(loss=2.5, correct=3, samples=8, failures=0, stop=1)
MINE = (2.5, 3, 8)
# Three layers of one cache line each.
LAYOUT = Layout([{"weight": Parameter((16,))}] * 3)


def make(bucket: int = 1 << 20) -> Reducer:
    settings = disttrain.parse(
        f'data.path = "none"\nmodel.layers = [{{ units = 1 }}]\n'
        f"communication.bucket_mib = {bucket / 2**20}"
    )
    return Reducer(Alone(), Cpu(), LAYOUT, settings)


def finish(reducer: Reducer, failed: bool = False) -> Totals:
    return reducer.sum_gradients((0, 0, 0) if failed else MINE, failed, stop=not failed)


def test_one_rank_has_the_sum_already() -> None:
    reducer = make()
    assert reducer.way == "none"
    reducer.gradients[:] = np.arange(48)
    assert finish(reducer) == HEADER
    np.testing.assert_array_equal(reducer.totals, np.arange(48))


def test_the_message_is_what_the_network_writes_to() -> None:
    reducer = make()
    assert np.shares_memory(reducer.gradients, reducer.totals)


@pytest.mark.parametrize("bucket", [4, 64, 1 << 20])
def test_buckets_change_nothing_and_begin_anew_in_each_step(bucket: int) -> None:
    reducer = make(bucket)
    for step in range(3):
        for end in (16, 32, 48):
            reducer.gradients[end - 16 : end] = step + end
            reducer.on_ready(end)
        assert finish(reducer) == HEADER
        np.testing.assert_array_equal(reducer.totals, np.repeat([16, 32, 48], 16) + step)


def test_a_failed_rank_sends_zeros_and_its_mark() -> None:
    reducer = make()
    reducer.gradients[:] = np.nan
    assert finish(reducer, failed=True) == Totals(failures=1)
    assert not reducer.totals.any()


def test_pieces_are_added_and_forgotten() -> None:
    reducer = make()
    for _ in range(2):
        for number, value in enumerate((1.0, 2.0, 4.0)):
            reducer.gradients[:] = value
            reducer.add_piece(number == 0)
        finish(reducer)
        np.testing.assert_array_equal(reducer.totals, np.full(48, 7))
    reducer.gradients[:] = 3
    finish(reducer)
    np.testing.assert_array_equal(reducer.totals, np.full(48, 3))


def test_a_failure_between_two_pieces_leaves_nothing_behind() -> None:
    reducer = make()
    reducer.gradients[:] = 5
    reducer.add_piece(True)
    finish(reducer, failed=True)
    reducer.gradients[:] = 1
    finish(reducer)
    np.testing.assert_array_equal(reducer.totals, np.ones(48))


def test_the_loss_keeps_double_precision() -> None:
    exact = 0.1 + 1e-12
    assert make().sum_gradients((exact, 0, 1), False, False).loss == exact


def test_buckets_end_after_layers_and_do_not_depend_on_a_step() -> None:
    assert buckets(LAYOUT, 1) == [16, 32, 48]
    assert buckets(LAYOUT, 16) == [16, 32, 48]
    assert buckets(LAYOUT, 17) == [32]
    assert buckets(LAYOUT, 1000) == []
    assert buckets(LAYOUT, 0) == [16, 32, 48]
