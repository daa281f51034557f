"""Arrays that ranks fill together: in shared memory, or by messages."""

import numpy as np
import pytest

KINDS = ("window", "messages")


@pytest.fixture(params=KINDS)
def make(request, comm, monkeypatch):
    """Return a function that makes a mosaic of one kind, and closes it in the end."""
    made = []
    if request.param == "messages":
        monkeypatch.setattr("disttrain.comm.sharing.room", lambda: 0.0)

    def mosaic(shapes, dtypes):
        found = comm.mosaic(shapes, dtypes)
        kind = {"window": "NodeMosaic", "messages": "MessageMosaic"}[request.param]
        assert type(found).__name__ == (kind if comm.size > 1 else "AloneMosaic")
        made.append(found)
        return found

    yield mosaic
    comm.barrier()
    for one in made:
        one.close()


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
    mosaic = make(shapes, [dtype, "f8", dtype])
    assert [a.shape for a in mosaic.arrays] == shapes
    assert [a.dtype for a in mosaic.arrays] == [np.dtype(d) for d in (dtype, "f8", dtype)]
    assert not any(array.any() for array in mosaic.arrays)
    comm.barrier()
    for number in range(6):
        edges = [uneven(shape[0], comm.size, number) for shape in shapes]
        for array, cuts in zip(mosaic.arrays, edges, strict=True):
            fill(comm, array, cuts, number)
        mosaic.complete(edges)
        for array in mosaic.arrays:
            np.testing.assert_array_equal(array, wanted(array, len(array), number))
        comm.barrier()


@pytest.mark.parametrize("owner", [0, -1])
def test_one_rank_has_all_rows(comm, make, owner):
    mosaic = make([(9, 4)], ["f4"])
    owner %= comm.size
    edges = [0] * (owner + 1) + [9] * (comm.size - owner)
    fill(comm, mosaic.arrays[0], edges, 1)
    mosaic.complete([edges])
    np.testing.assert_array_equal(mosaic.arrays[0], wanted(mosaic.arrays[0], 9, 1))


def test_a_round_of_fewer_rows_leaves_the_others_alone(comm, make):
    """The last batch of an epoch is smaller; what is behind its rows is nobody's."""
    mosaic = make([(20, 3)], ["f8"])
    for number, rows in enumerate((20, 6, 1, 20)):
        edges = [rows * rank // comm.size for rank in range(comm.size + 1)]
        fill(comm, mosaic.arrays[0], edges, number)
        mosaic.complete([edges])
        found = mosaic.arrays[0][:rows]
        np.testing.assert_array_equal(found, wanted(mosaic.arrays[0], rows, number))
        comm.barrier()


def test_rows_of_no_length_and_no_rows(comm, make):
    mosaic = make([(4, 0), (0, 4), (3, 2)], ["f4", "f4", "f4"])
    edges = [[0] * comm.size + [rows] for rows in (4, 0, 3)]
    fill(comm, mosaic.arrays[2], edges[2], 0)
    mosaic.complete(edges)
    np.testing.assert_array_equal(mosaic.arrays[2], wanted(mosaic.arrays[2], 3, 0))


def test_arrays_do_not_touch_each_other(comm, make):
    """Each begins on a page of its own: what one rank writes is in no other's cache line."""
    mosaic = make([(3,), (5,), (1,)], ["u1", "f4", "f8"])
    places = [array.ctypes.data for array in mosaic.arrays]
    if comm.size > 1 and mosaic.arrays[0].base is not None:
        assert len({place // 4096 for place in places}) == 3
    if comm.is_root:
        mosaic.arrays[1][:] = 7
    mosaic.complete([[0] + [len(a)] * comm.size for a in mosaic.arrays])
    assert not mosaic.arrays[0].any()
    assert not mosaic.arrays[2].any()
    assert (mosaic.arrays[1] == 7).all()
