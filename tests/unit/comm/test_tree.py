"""The tree over leaves: whoever adds what, the bits are those of the tree itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrain.comm.sums.tree import TOTAL, additions, folding, halves, subtrees
from disttrain.data import share


def by_hand(values: list[np.float32], low: int, high: int) -> np.float32:
    if high - low == 1:
        return values[low]
    (_, middle), _ = halves((low, high))
    return by_hand(values, low, middle) + by_hand(values, middle, high)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_any_number_of_ranks_gives_the_bits_of_the_tree(leaves: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = (random.normal(size=leaves) * 10.0 ** random.integers(-6, 6, leaves)).astype("f4")
    held = [subtrees(*share(leaves, rank, size), leaves) for rank in range(size)]
    width = max(map(len, held))
    rows = np.full(size * width, np.nan, "f4")
    for rank in range(size):
        low, high = share(leaves, rank, size)
        plan = folding(low, high, leaves)
        slots = np.full(50, np.nan, "f4")
        assert len(plan) == high - low
        for leaf, (slot, additions_after) in zip(range(low, high), plan, strict=True):
            slots[slot] = values[leaf]
            for to, other in additions_after:
                slots[to] += slots[other]
        rows[rank * width : rank * width + len(held[rank])] = slots[: len(held[rank])]
    total = np.float32(np.nan)
    for to, a, b in additions(held, width):
        added = rows[a] if a == b else rows[a] + rows[b]
        if to == TOTAL:
            total = added
        else:
            rows[to] = added
    assert total == by_hand(list(values), 0, leaves)


def test_the_order_matters_for_these_numbers() -> None:
    """So the test above would notice another one."""
    values = [np.float32(v) for v in (1e8, 1.0, -1e8, 1.0)]
    assert by_hand(values, 0, 4) != values[0] + values[1] + values[2] + values[3]


@pytest.mark.parametrize(
    ("ranks", "wanted"),
    [
        (1, [[(0, 8)]]),
        (2, [[(0, 4)], [(4, 8)]]),
        (3, [[(0, 2)], [(2, 4), (4, 5)], [(5, 6), (6, 8)]]),
    ],
)
def test_a_rank_brings_few_nodes(ranks: int, wanted: list[list[tuple[int, int]]]) -> None:
    assert [subtrees(*share(8, rank, ranks), 8) for rank in range(ranks)] == wanted


def test_a_rank_without_leaves_brings_nothing() -> None:
    assert subtrees(3, 3, 8) == []
    assert folding(3, 3, 8) == []
