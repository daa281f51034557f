"""The record behind a data file: where arrays lie; a block is compared whenever it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import open_dataset, read_facts
from disttrain.data.record import BLOCK, END, MARK
from disttrain.data.stored import Refused
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError

# Three blocks of rows, and some.
X = np.random.default_rng(0).normal(size=(1000, 100)).astype("f8")
Y = np.arange(1000) % 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_data_file(tmp_path / "data.h5", {"train": (X, Y)})
    return tmp_path / "data.h5"


def rows(path: Path, low: int, high: int) -> np.ndarray:
    found: np.ndarray = read_facts(str(path)).splits["train"].stored_inputs.rows(low, high)
    return found


def spoil(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_the_record_is_as_the_format_says(path: Path) -> None:
    content = path.read_bytes()
    assert content[-END:].startswith(MARK)
    length = int.from_bytes(content[-40:-32], "little")
    assert len(content) == length + 32 * -(-length // BLOCK) + END
    with h5py.File(path) as file:
        assert file.id.get_filesize() in (length, len(content))
        stored = file["train/inputs"][:]
    np.testing.assert_array_equal(np.sort(stored[:, 0]), np.sort(X[:, 0]))
    np.testing.assert_array_equal(rows(path, 0, 1000), stored)


@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_a_damaged_row_is_found_and_its_place_named(path: Path, memory: str) -> None:
    before = rows(path, 0, 200)
    spoil(path, 2 * BLOCK + 77)
    # The rows that are not near it can be had.
    np.testing.assert_array_equal(rows(path, 0, 200), before)

    def read_all() -> None:
        settings = Data(path=str(path), memory=memory, validation_fraction=0.0)
        split = open_dataset(settings, 1, Alone()).splits["train"]
        split.rows.locate(np.arange(split.count))

    with pytest.raises(DataError, match=f"bytes {2 * BLOCK} to {3 * BLOCK} were damaged"):
        read_all()


def test_damage_that_comes_after_the_first_reading_is_found_at_the_next(path: Path) -> None:
    inputs = read_facts(str(path)).splits["train"].stored_inputs
    before = inputs.rows(0, 1000)
    np.testing.assert_array_equal(inputs.rows(0, 1000), before)
    spoil(path, 2 * BLOCK + 77)
    with pytest.raises(Refused, match=f"bytes {2 * BLOCK} to {3 * BLOCK} were damaged or changed"):
        inputs.rows(0, 1000)


def test_streamed_rows_are_compared_at_every_reading(path: Path) -> None:
    settings = Data(path=str(path), memory="stream", block_rows=4, validation_fraction=0.0)
    rows = open_dataset(settings, 1, Alone()).splits["train"].rows
    for _ in range(2):
        rows.locate(np.arange(1000))
    spoil(path, BLOCK + 5)
    with pytest.raises(DataError, match=f"bytes {BLOCK} to {2 * BLOCK} were damaged or changed"):
        rows.locate(np.arange(1000))


def test_a_file_of_ours_is_read_without_hdf5(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its structure may be anything: the layout behind it says where its rows lie."""
    with h5py.File(path) as file:
        stored = file["train/inputs"][:]
    monkeypatch.setattr(h5py, "File", None)
    np.testing.assert_array_equal(rows(path, 0, 1000), stored)


def test_a_data_file_of_before_the_layout_is_read_and_compared(tmp_path: Path) -> None:
    """Written by the program of 2026-11-23, by `disttrain prepare iris`."""
    before = Path(__file__).parents[1] / "before" / "iris.h5"
    found = read_facts(str(before))
    assert found.class_names == ("setosa", "versicolor", "virginica")
    assert {name: split.rows for name, split in found.splits.items()} == {"train": 120, "test": 30}
    with h5py.File(before) as file:
        stored = file["train/inputs"][:]
    np.testing.assert_array_equal(found.splits["train"].stored_inputs.all(), stored)
    damaged = tmp_path / "damaged.h5"
    for place in (0, 700, found.splits["train"].stored_inputs.place + 9):
        damaged.write_bytes(before.read_bytes())
        spoil(damaged, place)
        with pytest.raises((DataError, Refused), match="were damaged or changed"):
            read_facts(str(damaged)).splits["train"].stored_inputs.all()


def test_only_what_is_read_is_compared(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of any size opens at once, and of a row no more than its blocks are read."""
    read: list[int] = []
    real = os.pread

    def pread(descriptor: int, count: int, place: int) -> bytes:
        read.append(count)
        return real(descriptor, count, place)

    monkeypatch.setattr(os, "pread", pread)
    inputs = read_facts(str(path)).splits["train"].stored_inputs
    assert sum(read) < 2 * BLOCK
    inputs.rows(0, 1000)
    read.clear()
    inputs.rows(500, 501)
    assert read == [BLOCK]


def test_a_file_that_was_edited_by_h5py_is_one_without_a_record(path: Path) -> None:
    """HDF5 cuts off what is behind its end when it has written."""
    with h5py.File(path, "r+") as file:
        file["train/inputs"][3] = 0
    assert not rows(path, 3, 4).any()
    assert MARK not in path.read_bytes()


@pytest.mark.parametrize("cut", [1, END, END + 32, 100_000])
def test_a_file_that_was_cut_off(path: Path, cut: int) -> None:
    stored = rows(path, 0, 1000)
    path.write_bytes(path.read_bytes()[:-cut])
    if cut < 100_000:
        # What is left is a data file as others write it, with all of its rows.
        np.testing.assert_array_equal(rows(path, 0, 1000), stored)
    else:
        with pytest.raises(DataError, match="truncated file"):
            rows(path, 0, 1000)


@pytest.mark.parametrize("place", [-1, -40, -END - 1])
def test_a_damaged_record(path: Path, place: int) -> None:
    spoil(path, path.stat().st_size + place)
    with pytest.raises(DataError, match="record"):
        read_facts(str(path))


def test_a_file_that_is_replaced_meanwhile_goes_on_being_the_old_one(path: Path) -> None:
    inputs: Any = read_facts(str(path)).splits["train"].stored_inputs
    before = inputs.rows(0, 10)
    write_data_file(path, {"train": (X[::-1] * 2, Y)}, seed=5)
    np.testing.assert_array_equal(inputs.rows(0, 10), before)
    assert (rows(path, 0, 10) != before).any()


def test_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_signal(path: Path) -> None:
    split = open_dataset(Data(path=str(path), memory="stream"), 1, Alone()).splits["train"]
    os.truncate(path, 100_000)
    with pytest.raises(DataError, match="cut off while it was read"):
        split.rows.locate(np.arange(split.count))
