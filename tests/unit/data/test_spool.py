import errno
import os

import numpy as np
import pytest

from disttrain.data.importers import spool
from disttrain.data.importers.spool import Spool, blocks_of, taken
from disttrain.errors import DataError


@pytest.mark.parametrize("room", [10, 1 << 20])
def test_rows_are_those_that_were_added_in_memory_or_in_a_file(tmp_path, monkeypatch, room):
    monkeypatch.setattr(spool, "IN_MEMORY", room)
    monkeypatch.setattr(spool, "BLOCK_BYTES", 30)
    x = np.random.default_rng(0).random((50, 2, 3)).astype("f4")
    made = Spool((2, 3), np.dtype("f4"), tmp_path)
    for low in range(0, 50, 7):
        made.append(x[low : low + 7].astype("f8"))
    rows = made.rows()
    np.testing.assert_array_equal(rows, x)
    assert isinstance(rows, np.memmap) == (room == 10)
    assert os.listdir(tmp_path) == []
    chosen = np.array([49, 0, 3, 3])
    np.testing.assert_array_equal(taken(rows, chosen), x[chosen])


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 10)
    made = Spool((3,), np.dtype("f8"), tmp_path)

    def full(**_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match=f"{tmp_path} can't hold the rows.*No space left"):
        made.append(np.ones((5, 3)))


@pytest.mark.parametrize(("mode", "stored"), [("c", 0), ("r+", 1)])
def test_what_a_caller_changed_in_a_mapped_array_is_read_and_kept(tmp_path, mode, stored):
    np.save(tmp_path / "x.npy", np.zeros((64, 512)))
    x = np.load(tmp_path / "x.npy", mmap_mode=mode)
    x[:] = 1
    for order in (None, np.arange(64)[::-1]):
        for block in blocks_of(x, order, 16 << 10):
            assert (block == 1).all()
    assert (x == 1).all()
    assert (np.load(tmp_path / "x.npy") == stored).all()
