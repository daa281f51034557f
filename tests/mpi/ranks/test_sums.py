"""Every way of adding a message over ranks, against numpy; on one node, and as if on two."""

import hashlib

import numpy as np
import pytest

from disttrain.comm.ranks import Ranks, world
from disttrain.comm.sums.choose import by_window
from disttrain.errors import DisttrainError

WAYS = ["auto", "window", "allreduce", "buckets", "ring"]
DTYPES = ["f4", "f8"]
LENGTHS = [1, 2, 7, 1000, 100_003]
HEADER = 5


def part(rank, length, dtype, turn):
    """Whole numbers: their sum is exact in any order and any dtype."""
    return np.random.default_rng([rank, length, turn]).integers(-999, 999, length).astype(dtype)


def head(rank, turn):
    return np.array([0.5, 2.0**40 + rank, rank, turn, rank == 0], "f8")


def check(total, comm, length, dtype, turn=0, starts=()):
    """Send a message and a header; compare the sums with numpy's and over ranks."""
    total.message[:] = part(comm.rank, length, dtype, turn)
    total.header[:] = head(comm.rank, turn)
    for end in starts:
        total.start(end)
    total.finish()
    expected = np.sum([part(r, length, dtype, turn) for r in range(comm.size)], axis=0)
    assert total.total.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(total.total, expected)
    expected = np.sum([head(r, turn) for r in range(comm.size)], axis=0)
    np.testing.assert_array_equal(total.total_header, expected)


def same_everywhere(comm, *arrays):
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
    assert len(set(comm.collect(digest))) == 1


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_sums_are_numpys_turn_after_turn(comm, way, dtype, length):
    total = comm.summation(length, dtype, HEADER, way)
    for turn in range(4):
        check(total, comm, length, dtype, turn)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_rounded_sums_have_the_same_bits_on_all_ranks(comm, way, dtype):
    length = 20_011
    total = comm.summation(length, dtype, HEADER, way)
    parts = [np.random.default_rng(r).normal(size=length).astype(dtype) for r in range(comm.size)]
    for scale in (1.0, 1e-3):
        total.message[:] = parts[comm.rank] * np.dtype(dtype).type(scale)
        total.header[:] = 0.1 * comm.rank
        total.finish()
        same_everywhere(comm, total.total, total.total_header)
        expected = scale * np.sum([p.astype("f8") for p in parts], axis=0)
        tolerance = 8 * np.finfo(dtype).eps * scale * 4
        np.testing.assert_allclose(total.total, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cuts", [(), (400,), (1, 2, 999), (1003,)])
def test_buckets_may_leave_early(comm, way, cuts):
    """Every rank says something else of when it is ready; the buckets are the same."""
    length = 1003
    total = comm.summation(length, "f4", HEADER, way)
    total.cuts = cuts
    ready = [(400, 1003), (1, 999), (1003,), (), (300, 500, 700)]
    for turn in range(len(ready)):
        check(total, comm, length, "f4", turn, ready[(turn + comm.rank) % len(ready)])


@pytest.mark.parametrize("way", WAYS)
def test_values_that_are_not_finite_reach_everyone(comm, way):
    total = comm.summation(9, "f4", HEADER, way)
    total.message[:] = comm.rank
    total.header[:] = 0
    if comm.rank == comm.size - 1:
        total.message[4], total.header[0] = np.inf, np.nan
    total.finish()
    assert np.isinf(total.total[4])
    assert np.isnan(total.total_header[0])
    assert np.isfinite(np.delete(total.total, 4)).all()


def test_two_sums_at_once_do_not_meet(comm):
    pair = [comm.summation(50, "f8", HEADER, "auto") for _ in range(2)]
    for number, total in enumerate(pair):
        total.message[:] = number + 1
        total.header[:] = number
    for total in pair:
        total.finish()
    for number, total in enumerate(pair):
        assert (total.total == (number + 1) * comm.size).all()


@pytest.fixture(scope="module")
def pairs(comm):
    """The ranks as if each pair were a node: even at 4 ranks, uneven at 3."""
    return Ranks(world(), node=world().Split(comm.rank // 2, comm.rank))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_sums_over_several_nodes(comm, pairs, way, dtype, length):
    if way == "window" and comm.size == 3:
        with pytest.raises(DisttrainError, match="as many ranks on every node"):
            pairs.summation(length, dtype, HEADER, way)
        return
    total = pairs.summation(length, dtype, HEADER, way)
    if way == "window" and comm.size == 4:
        assert total.way in ("window+ring", "window+allreduce")
    if way in ("allreduce", "buckets", "ring"):
        assert total.way == way
    assert len(set(comm.collect(total.way))) == 1
    for turn in range(3):
        check(total, comm, length, dtype, turn)
    same_everywhere(comm, total.total, total.total_header)


@pytest.mark.parametrize("across", ["ring", "allreduce"])
def test_a_window_with_either_way_between_nodes(comm, pairs, across):
    if comm.size != 4:
        pytest.skip("needs two even nodes")
    for length in LENGTHS:
        total = by_window(pairs._topology, length, np.dtype("f4"), HEADER, across)
        assert total.way == f"window+{across}"
        for turn in range(3):
            check(total, comm, length, "f4", turn)


def test_a_rank_alone_adds_nothing(comm):
    """What it writes is the sum, also where a launcher started it: nothing is copied."""
    alone = comm.split(comm.rank)
    total = alone.summation(9, "f4", HEADER)
    assert total.way == "none"
    assert total.total is total.message
    alone.close()
