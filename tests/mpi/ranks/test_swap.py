"""Arrays that ranks exchange: inside a host in one message each, between hosts in short ones."""

import numpy as np
import pytest

from disttrain.comm.ranks import world
from disttrain.comm.swap import FAR, NEAR, Swap

# Numbers of float64: none, fewer and more than fit in one message between hosts, and exactly that.
LENGTHS = [0, 1, FAR // 8, 3 * FAR // 8 + 1]


def numbers(by, to, length):
    return np.arange(length) + 1000.0 * by + 0.5 * to


# By the host that all share, as if each rank had its own, and as if they had two.
@pytest.mark.parametrize("near", ["looked up", "none", "halves"])
@pytest.mark.parametrize("length", LENGTHS)
def test_each_rank_gets_what_was_meant_for_it(comm, near, length):
    rank, half = comm.rank, [r for r in range(comm.size) if r % 2 == comm.rank % 2]
    swap = Swap(world(), {"looked up": None, "none": [], "halves": half}[near])
    others = [r for r in range(comm.size) if r != rank]
    for turn in range(3):
        got = {by: np.full((2, length), np.nan) for by in others}
        swap.do(
            [(numbers(rank + turn, to, length), to) for to in others for _ in range(2)],
            [(row, by) for by in others for row in got[by]],
        )
        for by in others:
            np.testing.assert_array_equal(got[by], [numbers(by + turn, rank, length)] * 2)


def test_a_ring_has_other_senders_than_receivers(comm):
    size, rank, length = comm.size, comm.rank, LENGTHS[-1]
    for near in (None, []):
        got = np.zeros(length)
        Swap(world(), near).do(
            [(numbers(rank, 0, length), (rank + 1) % size)], [(got, (rank - 1) % size)]
        )
        np.testing.assert_array_equal(got, numbers((rank - 1) % size, 0, length))


def test_messages_between_hosts_are_short_and_those_inside_one_are_not(comm):
    array, swap = np.zeros(FAR), Swap(world(), [comm.rank])
    assert [p.nbytes for p in swap._parts(array, comm.rank)] == [array.nbytes]
    far = [p.nbytes for p in swap._parts(array, comm.rank + 1)]
    assert sum(far) == array.nbytes
    assert max(far) <= FAR < NEAR
