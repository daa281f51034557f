import numpy as np

from disttrain.arrays import Chunks, Cpu, OneArray, Workspace


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_the_same_shape_is_the_same_memory() -> None:
    workspace = Workspace(Cpu().empty)
    first = workspace.array("a", (4, 3), "f4")
    assert first.shape == (4, 3)
    assert first.dtype == np.float32
    again = workspace.array("a", (4, 3), "f4")
    assert address(first) == address(again)


def test_fewer_rows_are_the_head_and_nothing_is_lost_by_them() -> None:
    workspace = Workspace(Cpu().empty)
    full = workspace.array("a", (4, 3), "f4")
    for rows in (2, 0, 4):
        part = workspace.array("a", (rows, 3), "f4")
        assert part.shape == (rows, 3)
        assert address(part) == address(full)


def test_more_rows_or_another_width_get_room() -> None:
    workspace = Workspace(Cpu().empty)
    workspace.array("a", (2, 3), "f4")
    assert workspace.array("a", (5, 3), "f4").shape == (5, 3)
    assert workspace.array("a", (5, 7), "f4").shape == (5, 7)


def test_names_do_not_share_memory() -> None:
    workspace = Workspace(Cpu().empty)
    one, two = workspace.array("a", (4, 3), "f4"), workspace.array("b", (4, 3), "f4")
    assert not np.shares_memory(one, two)


def test_another_dtype_is_not_given_the_old_memory() -> None:
    workspace = Workspace(Cpu().empty)
    workspace.array("raw", (4, 3), "u1")
    assert workspace.array("raw", (4, 3), "f4").dtype == np.float32
    assert workspace.array("raw", (2, 3), "u1").dtype == np.uint8


def test_one_array_is_the_memory_of_all_and_grows_where_needed() -> None:
    one = OneArray(Cpu().empty)
    first = one.array("a", (4, 3), "f4")
    second = one.array("b", (3, 4), "f4")
    assert address(first) == address(second)
    assert address(one.array("a", (2, 3), "f4")) == address(first)
    first[:] = 1
    assert one.array("c", (5, 3), "f4").shape == (5, 3)
    assert (first == 1).all(), "an array that is in use keeps its memory"


def test_arrays_of_chunks_lie_side_by_side_and_apart() -> None:
    chunks = Chunks()
    arrays = [chunks.empty((1000, 100 + n), "f4") for n in range(100)]
    for n, array in enumerate(arrays):
        assert array.shape == (1000, 100 + n)
        assert array.flags.c_contiguous
        assert address(array) % 64 == 0
        array[...] = n
    assert all((array == n).all() for n, array in enumerate(arrays))
    gaps = np.diff([address(array) for array in arrays])
    assert np.median(gaps) < 4 * 1000 * 200 + 64
    assert chunks.empty((2, 3), "f8").shape == (2, 3)
    assert chunks.empty((1 << 21,), "f8").nbytes == 1 << 24
