"""What ranks tell each other outside of a step."""

import numpy as np
import pytest

DTYPES = ["?", "u1", "i1", "i2", "<i4", "i8", "f2", "f4", "f8", ">f8", "c16", "S7"]


def test_ranks_are_numbered(comm):
    assert comm.collect(comm.rank) == list(range(comm.size))
    assert comm.collect(comm.local_rank) == list(range(comm.size))
    assert comm.local_size == comm.size
    assert comm.is_root == (comm.rank == 0)
    assert comm.library.startswith(("Open MPI", "MPICH", "Intel"))


def test_one_job_is_one_object(comm):
    import disttrain

    assert disttrain.connect() is comm


@pytest.mark.parametrize("value", [None, 0, "x" * 100_000, {"a": [1.5, None]}, b"\0"])
def test_share_gives_everyone_rank_0s(comm, value):
    assert comm.share(value if comm.is_root else "another") == value
    assert comm.share(value if comm.is_root else None) == value


def test_collect_keeps_the_order_of_ranks(comm):
    values = comm.collect({"rank": comm.rank, "text": "y" * (comm.rank * 10_000)})
    assert [v["rank"] for v in values] == list(range(comm.size))
    assert [len(v["text"]) for v in values] == [r * 10_000 for r in range(comm.size)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (0,), (3, 5), (2, 3, 4)])
def test_broadcast_overwrites_with_rank_0s(comm, dtype, shape):
    wanted = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    array = wanted.copy() if comm.is_root else np.zeros(shape, dtype)
    comm.broadcast(array)
    np.testing.assert_array_equal(array, wanted)


def test_broadcast_of_more_than_one_piece(comm, monkeypatch):
    from disttrain.comm import ranks

    monkeypatch.setattr(ranks, "LARGEST", 1000)
    wanted = np.random.default_rng(1).normal(size=12_345)
    array = wanted.copy() if comm.is_root else np.zeros_like(wanted)
    comm.broadcast(array)
    np.testing.assert_array_equal(array, wanted)


def test_broadcast_of_much(comm):
    wanted = np.arange(8_000_001, dtype="f4")
    array = wanted.copy() if comm.is_root else np.zeros_like(wanted)
    comm.broadcast(array)
    assert (array == wanted).all()


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_a_node_array_is_one_memory(comm, dtype):
    array = comm.node_array((comm.size, 1003), dtype)
    assert array.shape == (comm.size, 1003)
    assert array.dtype == np.dtype(dtype)
    array[comm.rank] = comm.rank + 1
    comm.barrier()
    assert (array == np.arange(1, comm.size + 1)[:, None]).all()
    comm.barrier()


def test_an_empty_node_array(comm):
    assert comm.node_array((0, 4), "f4").shape == (0, 4)


def test_a_barrier_waits_for_the_slowest(comm):
    import time

    arrived = comm.node_array((1,), "i4")
    if comm.rank == comm.size - 1:
        time.sleep(0.1)
        arrived[0] = 1
    comm.barrier()
    assert arrived[0] == 1
