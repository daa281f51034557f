import errno
import os
import resource
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from disttrain.data import writer
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError

X = np.arange(600, dtype=np.float32).reshape(100, 2, 3)
Y = np.arange(100) % 4
SPLITS = {"train": (X, Y), "test": (X[:10], Y[:10])}


def read(path):
    with h5py.File(path) as f:
        return {name: f[name][:] for name in ("train/inputs", "train/targets", "test/inputs")}


def test_the_file_is_as_the_format_says(tmp_path):
    write_data_file(tmp_path / "a.h5", SPLITS, ["a", "b", "c", "ä"])
    with h5py.File(tmp_path / "a.h5") as f:
        assert f.attrs["format"] == "disttrain-data"
        assert f.attrs["version"] == 1
        assert list(f.attrs["classes"]) == ["a", "b", "c", "ä"]
        assert set(f) == {"train", "test"}
        for name in ("train/inputs", "train/targets", "test/inputs", "test/targets"):
            assert f[name].chunks is None
            assert f[name].compression is None
        assert f["train/inputs"].dtype == np.float32
        assert f["train/targets"].dtype == np.int64
        np.testing.assert_array_equal(f["test/inputs"], X[:10])
        np.testing.assert_array_equal(f["test/targets"], Y[:10])
    write_data_file(tmp_path / "b.h5", SPLITS)
    with h5py.File(tmp_path / "b.h5") as f:
        assert "classes" not in f.attrs


@pytest.mark.parametrize("block", [1, 70, 8 << 20])
def test_training_rows_are_a_permutation_that_keeps_pairs(tmp_path, monkeypatch, block):
    monkeypatch.setattr(writer, "BLOCK_BYTES", block)
    write_data_file(tmp_path / "a.h5", SPLITS, seed=5)
    stored = read(tmp_path / "a.h5")
    order = stored["train/inputs"][:, 0, 0].astype(int) // 6
    assert sorted(order) == list(range(100))
    assert not np.array_equal(order, np.arange(100))
    np.testing.assert_array_equal(stored["train/inputs"], X[order])
    np.testing.assert_array_equal(stored["train/targets"], Y[order])


def test_bytes_depend_on_the_seed_and_on_nothing_else(tmp_path):
    names = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    for path, seed in zip(names, (1, 1, 2), strict=True):
        write_data_file(path, SPLITS, seed=seed)
    a, b, c = (path.read_bytes() for path in names)
    assert a == b
    assert a != c


def test_the_order_is_pinned(tmp_path):
    write_data_file(tmp_path / "a.h5", {"train": (X[:8], Y[:8]), "test": (X, Y)}, seed=0)
    order = read(tmp_path / "a.h5")["train/inputs"][:, 0, 0] // 6
    assert order.tolist() == [2, 1, 6, 0, 7, 3, 4, 5]


@pytest.mark.parametrize("dtype", ["u1", ">f4", ">i2", "f2", "f8"])
def test_dtype_and_layout_of_the_source_do_not_matter(tmp_path, dtype):
    inputs = np.asfortranarray(X.astype(dtype))
    write_data_file(tmp_path / "a.h5", {"train": (inputs, Y), "test": (inputs[::2], Y[::2])})
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["test/inputs"], inputs[::2])


def test_progress_ends_at_the_total(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "BLOCK_BYTES", 240)
    calls = []
    write_data_file(tmp_path / "a.h5", SPLITS, progress=lambda *both: calls.append(both))
    total = X.nbytes + Y.nbytes + X[:10].nbytes + Y[:10].nbytes
    assert calls[-1] == (total, total)
    assert len(calls) > 10
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DataError),
        (RuntimeError("a bug"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_trouble_in_the_middle_leaves_the_older_file_and_nothing_else(tmp_path, trouble, raised):
    path = tmp_path / "a.h5"
    write_data_file(path, SPLITS)
    before = path.read_bytes()

    def stumble(done, total):
        raise trouble

    with pytest.raises(raised):
        write_data_file(path, SPLITS, seed=9, progress=stumble)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError) as caught:
        write_data_file(tmp_path / "a.h5", SPLITS)
    assert str(caught.value) == (
        f"{tmp_path / 'a.h5'} can't be written (No space left on device): "
        "free some space or name another folder"
    )
    assert caught.value.exit_code == 3
    assert os.listdir(tmp_path) == []


WRITE_WITHOUT_ROOM = """
import sys, numpy as np
from pathlib import Path
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError
try:
    write_data_file(Path(sys.argv[1]), {"train": (np.ones((1000, 300)), np.arange(1000) % 2)})
except DataError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_hdf5_does_not_take_the_process_down_when_the_file_cannot_grow(tmp_path):
    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = [sys.executable, "-c", WRITE_WITHOUT_ROOM, str(tmp_path / "a.h5")]
    done = subprocess.run(command, preexec_fn=no_room, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "can't be written (File too large)" in done.stdout
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []


def test_only_data_files_are_replaced(tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(DataError, match="exists and is not a data file of disttrain, so"):
        write_data_file(tmp_path / "notes.md", SPLITS)
    assert (tmp_path / "notes.md").read_text() == "mine"
    with pytest.raises(DataError, match="is a folder"):
        write_data_file(tmp_path, SPLITS)
    with pytest.raises(DataError, match="Not a directory"):
        write_data_file(tmp_path / "notes.md" / "a.h5", SPLITS)


def test_hdf5_of_others_and_checkpoints_are_not_replaced(tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["measured"] = np.arange(1000)
    with h5py.File(tmp_path / "best.h5", "w") as file:
        file.attrs["format"] = "disttrain-checkpoint"
        file.attrs["run"] = "path = 'disttrain-data/a.h5'"
    for name in ("mine.h5", "best.h5"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(DataError, match="is not a data file of disttrain"):
            write_data_file(tmp_path / name, SPLITS)
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("place", [0.01, 0.9])
def test_a_damaged_data_file_is_replaced(tmp_path, place):
    write_data_file(tmp_path / "a.h5", SPLITS)
    good = (tmp_path / "a.h5").read_bytes()
    at = max(8, int(len(good) * place))
    (tmp_path / "a.h5").write_bytes(good[:at] + b"?" + good[at + 1 :])
    write_data_file(tmp_path / "a.h5", SPLITS)
    assert (tmp_path / "a.h5").read_bytes() == good


def test_the_folder_is_made_and_a_link_still_leads_to_the_file(tmp_path):
    real = tmp_path / "deep" / "er" / "a.h5"
    write_data_file(real, SPLITS)
    (tmp_path / "link.h5").symlink_to(real)
    write_data_file(tmp_path / "link.h5", SPLITS, seed=3)
    assert (tmp_path / "link.h5").is_symlink()
    write_data_file(tmp_path / "b.h5", SPLITS, seed=3)
    assert real.read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("splits", "cause"),
    [
        ({"validation": (X, Y)}, "no training rows"),
        ({"train": (X, Y), "dev": (X, Y)}, "splits are called train, validation, test"),
        ({"train": (X, Y[:5])}, "100 rows of inputs but 5 targets"),
        ({"train": (X, Y.astype(np.float32))}, "need to be int64 class numbers, or floats"),
        ({"train": (X, Y.astype(np.int32))}, "need to be int64"),
        ({"train": (X, Y - 1)}, "counted from 0"),
        ({"train": (X[:0], Y[:0])}, "no rows"),
        ({"train": (Y, Y)}, "need rows and features"),
    ],
)
def test_splits_that_break_the_format_are_refused(tmp_path, splits, cause):
    with pytest.raises(DataError, match=cause):
        write_data_file(tmp_path / "a.h5", splits)
    assert os.listdir(tmp_path) == []
