import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrain.data import BlockShuffle

ROWS = [1, 2, 7, 8, 9, 63, 64, 65, 100, 513]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("block_rows", [1, 3, 8, 64, 1000])
def test_each_sample_is_used_once_in_an_epoch(rows: int, block_rows: int) -> None:
    for epoch in (0, 1, 17):
        order = BlockShuffle(rows, 1, block_rows).samples(epoch, 0, rows)
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(rows))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_slice_is_that_of_the_whole(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 300))
    block_rows = data.draw(st.integers(1, 40))
    low = data.draw(st.integers(0, rows))
    high = data.draw(st.integers(low, rows))
    epoch = data.draw(st.integers(0, 3))
    whole = BlockShuffle(rows, 1, block_rows).samples(epoch, 0, rows)
    part = BlockShuffle(rows, 1, block_rows).samples(epoch, low, high)
    np.testing.assert_array_equal(part, whole[low:high])


def test_the_order_does_not_depend_on_what_was_asked_before() -> None:
    used = BlockShuffle(200, 1, 8)
    for epoch in (5, 0, 3, 1):
        used.samples(epoch, 13, 170)
    fresh = BlockShuffle(200, 1, 8)
    np.testing.assert_array_equal(used.samples(2, 0, 200), fresh.samples(2, 0, 200))


def test_epoch_seed_and_block_size_each_change_the_order() -> None:
    orders = [
        BlockShuffle(200, seed, block).samples(epoch, 0, 200).tolist()
        for seed, block, epoch in [(1, 8, 0), (1, 8, 1), (2, 8, 0), (1, 9, 0)]
    ]
    assert len({tuple(o) for o in orders}) == 4


def test_rows_used_together_lie_in_eight_blocks() -> None:
    rows, block = 640, 16
    order = BlockShuffle(rows, 1, block).samples(0, 0, rows)
    for pool in order.reshape(-1, 8 * block):
        assert len(set((pool // block).tolist())) == 8


def test_the_order_never_changes() -> None:
    """A resumed run must go on in the order in which an older version began."""
    assert BlockShuffle(20, 1, 2).samples(0, 0, 20).tolist() == PINNED


PINNED = [0, 14, 10, 13, 8, 1, 2, 17, 15, 18, 9, 11, 19, 16, 12, 3, 4, 6, 5, 7]
