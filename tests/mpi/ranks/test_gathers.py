"""All-gathers of rows: in shared memory, by messages, or both."""

import numpy as np
import pytest

from disttrain.comm.ranks import Ranks, world

# The last two are as if there were nodes of two ranks, or even and odd ranks were a node each.
KINDS = ("window", "messages", "pairs", "turns")


@pytest.fixture(params=KINDS)
def make(request, comm, monkeypatch):
    """Return a function that makes an all-gather of one kind, and closes it in the end."""
    made = []
    if request.param == "messages":
        monkeypatch.setattr("disttrain.comm.memory.SharedMemory.room", 0.0)
    ranks, several = comm, False
    if request.param in ("pairs", "turns"):
        node = comm.rank // 2 if request.param == "pairs" else comm.rank % 2
        ranks = Ranks(world(), node=world().Split(node, comm.rank))
        several = comm.size > (2 if request.param == "pairs" else 1)

    def gather(shapes, dtypes):
        found = ranks.all_gather(shapes, dtypes)
        kind = "NodesGather" if several else "WindowGather"
        kind = "MessageGather" if request.param == "messages" else kind
        assert type(found).__name__ == (kind if comm.size > 1 else "AloneGather")
        made.append(found)
        return found

    yield gather
    comm.barrier()


def fill(comm, array, edges, number):
    """Write this rank's rows: each row tells which it is, and in which round."""
    low, high = edges[comm.rank], edges[comm.rank + 1]
    rows = np.arange(low, high).reshape(-1, *[1] * (array.ndim - 1))
    array[low:high] = (
        rows + 100 * number + np.arange(int(np.prod(array.shape[1:]))).reshape(array.shape[1:]) / 64
    )


def wanted(array, rows, number):
    tail = np.arange(int(np.prod(array.shape[1:]))).reshape(array.shape[1:]) / 64
    return np.arange(rows).reshape(-1, *[1] * (array.ndim - 1)) + 100 * number + tail


def uneven(rows, size, number):
    """Return edges that are others in each round; some ranks have no row."""
    cuts = np.random.default_rng([rows, size, number]).integers(0, rows + 1, size - 1)
    return [0, *sorted(map(int, cuts)), rows]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_all_see_all_rows(comm, make, dtype):
    shapes = [(13, 5), (40,), (7, 2, 3)]
    gather = make(shapes, [dtype, "f8", dtype])
    assert [a.shape for a in gather.arrays] == shapes
    assert [a.dtype for a in gather.arrays] == [np.dtype(d) for d in (dtype, "f8", dtype)]
    assert not any(array.any() for array in gather.arrays)
    comm.barrier()
    for number in range(6):
        edges = [uneven(shape[0], comm.size, number) for shape in shapes]
        for array, cuts in zip(gather.arrays, edges, strict=True):
            fill(comm, array, cuts, number)
        gather.complete(edges)
        for array in gather.arrays:
            np.testing.assert_array_equal(array, wanted(array, len(array), number))
        comm.barrier()


def test_rows_that_go_in_several_messages(comm, make):
    """Also one whose last message is a short one, and rows that are longer than a message."""
    shapes = [(50, 1000), (6, 30_001)]
    gather = make(shapes, ["f4", "f8"])
    for number in range(2):
        edges = [uneven(shape[0], comm.size, number) for shape in shapes]
        for array, cuts in zip(gather.arrays, edges, strict=True):
            fill(comm, array, cuts, number)
        gather.complete(edges)
        for array in gather.arrays:
            found = wanted(array, len(array), number).astype(array.dtype)
            np.testing.assert_array_equal(array, found)
        comm.barrier()


@pytest.mark.parametrize("owner", [0, -1])
def test_one_rank_has_all_rows(comm, make, owner):
    gather = make([(9, 4)], ["f4"])
    owner %= comm.size
    edges = [0] * (owner + 1) + [9] * (comm.size - owner)
    fill(comm, gather.arrays[0], edges, 1)
    gather.complete([edges])
    np.testing.assert_array_equal(gather.arrays[0], wanted(gather.arrays[0], 9, 1))


def test_a_round_of_fewer_rows_leaves_the_others_alone(comm, make):
    """The last batch of an epoch is smaller; what is behind its rows is nobody's."""
    gather = make([(20, 3)], ["f8"])
    for number, rows in enumerate((20, 6, 1, 20)):
        edges = [rows * rank // comm.size for rank in range(comm.size + 1)]
        fill(comm, gather.arrays[0], edges, number)
        gather.complete([edges])
        found = gather.arrays[0][:rows]
        np.testing.assert_array_equal(found, wanted(gather.arrays[0], rows, number))
        comm.barrier()


def test_rows_of_no_length_and_no_rows(comm, make):
    gather = make([(4, 0), (0, 4), (3, 2)], ["f4", "f4", "f4"])
    edges = [[0] * comm.size + [rows] for rows in (4, 0, 3)]
    fill(comm, gather.arrays[2], edges[2], 0)
    gather.complete(edges)
    np.testing.assert_array_equal(gather.arrays[2], wanted(gather.arrays[2], 3, 0))


def test_arrays_do_not_touch_each_other(comm, make):
    """Each begins on a page of its own: what one rank writes is in no other's cache line."""
    gather = make([(3,), (5,), (1,)], ["u1", "f4", "f8"])
    places = [array.ctypes.data for array in gather.arrays]
    if comm.size > 1 and gather.arrays[0].base is not None:
        assert len({place // 4096 for place in places}) == 3
    if comm.is_root:
        gather.arrays[1][:] = 7
    gather.complete([[0] + [len(a)] * comm.size for a in gather.arrays])
    assert not gather.arrays[0].any()
    assert not gather.arrays[2].any()
    assert (gather.arrays[1] == 7).all()
