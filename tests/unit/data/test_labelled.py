"""Rows that are used without their targets, and rows that have none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import Dataset, open_dataset, read_facts
from disttrain.data.importers.tables import Options, import_table
from disttrain.data.others.unlabelled import unlabelled_rows
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError, RunFileError

Write = Callable[..., str]
X = np.arange(120, dtype="f4").reshape(60, 2)
Y = np.arange(60) % 3


def opened(path: str, **settings: Any) -> Dataset:
    return open_dataset(Data(path=path, **settings), 1, Alone(), without=True)


def inputs_of(rows: Any) -> np.ndarray:
    stored, places = rows.locate(np.arange(rows.count))
    return np.asarray(stored[places])


@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_so_many_rows_of_each_class_keep_their_targets(write_data: Write, memory: str) -> None:
    path = write_data(train=(X, Y), test=(X[:3], Y[:3]))
    found = opened(path, labelled=12, validation_fraction=0.1, memory=memory, block_rows=7)
    train, rest = found.splits["train"], found.without
    assert rest is not None
    assert np.bincount(train.targets).tolist() == [4, 4, 4]
    assert (train.count, rest.count, found.splits["validation"].count) == (12, 42, 6)
    parts = [inputs_of(r) for r in (train.rows, rest.rows, found.splits["validation"].rows)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)[:, 0]), X[:, 0])
    np.testing.assert_array_equal(inputs_of(found.every_row), np.concatenate(parts[:2]))
    again = opened(path, labelled=12, validation_fraction=0.1)
    np.testing.assert_array_equal(inputs_of(again.splits["train"].rows), parts[0])


def test_they_depend_on_the_seed_and_all_rows_are_allowed(write_data: Write) -> None:
    path = write_data(train=(X, Y))
    one, other = (
        open_dataset(Data(path=path, labelled=12, validation_fraction=0.0), seed, Alone())
        for seed in (1, 2)
    )
    assert not np.array_equal(one.numbers["train"], other.numbers["train"])
    assert one.without is None
    whole = opened(path, labelled=60, validation_fraction=0.0)
    assert whole.splits["train"].count == 60
    assert whole.without is None


def test_rows_without_targets_stand_in_a_group_of_their_own(tmp_path: Path) -> None:
    path, more = tmp_path / "data.h5", np.arange(40, dtype="f4").reshape(20, 2) + 1000
    write_data_file(path, {"train": (X, Y.astype(np.int64))}, unlabelled=more)
    with h5py.File(path) as file:
        assert list(file["unlabelled"]) == ["inputs"]
        stored = file["unlabelled/inputs"][...]
    assert not np.array_equal(stored, more)
    np.testing.assert_array_equal(np.sort(stored[:, 0]), more[:, 0])
    found = opened(str(path), validation_fraction=0.0)
    assert found.without is not None
    np.testing.assert_array_equal(inputs_of(found.without.rows), stored)
    assert list(found.splits) == ["train"]
    # Both kinds, and only so many: the training rows come first.
    some = opened(str(path), validation_fraction=0.0, labelled=30, unlabelled=40)
    assert some.without is not None
    taken = inputs_of(some.without.rows)[:, 0]
    assert len(taken) == 40
    assert (taken >= 1000).sum() == 10


def test_a_foreign_file_may_have_the_group_too(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["train/inputs"], file["train/targets"], file["unlabelled/inputs"] = X, Y, X[:5]
    assert read_facts(str(path)).unlabelled.rows == 5  # type: ignore[union-attr]
    with h5py.File(path, "a") as file:
        del file["unlabelled/inputs"]
        file["unlabelled/inputs"] = X[:5].astype("f8")
    with pytest.raises(DataError, match="samples of unlabelled are float64"):
        read_facts(str(path))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labelled": 61}, "data.labelled = 61, but .* has 60 training rows of 3 classes"),
        ({"labelled": 2}, "give a number from 3 to 60"),
        ({"unlabelled": 1}, "data.unlabelled = 1, but .* has 0 rows"),
    ],
)
def test_numbers_that_the_file_does_not_have(
    write_data: Write, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunFileError, match=says):
        opened(write_data(train=(X, Y)), validation_fraction=0.0, **settings)


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rows without targets are float32 of shape"):
        write_data_file(
            tmp_path / "data.h5", {"train": (X, Y.astype(np.int64))},
            unlabelled=np.ones((3, 5), "f4"),
        )  # fmt: skip


def test_prepare_reads_them_like_the_training_table(tmp_path: Path) -> None:
    table, more = tmp_path / "table.csv", tmp_path / "more.csv"
    table.write_text("a,b,label\n" + "".join(f"{n},{n % 4},{'xy'[n % 2]}\n" for n in range(12)))
    more.write_text("b,a\n" + "".join(f"{n % 4},{n + 0.5}\n" for n in range(7)))
    imported = import_table(table, Options())
    rows = unlabelled_rows(more, imported)
    np.testing.assert_array_equal(rows, [[n + 0.5, n % 4] for n in range(7)])
    pixels = replace(imported, splits={"train": (np.zeros((3, 2, 2), "u1"), np.arange(3))},
                     classes=None, preparation=None)  # fmt: skip
    np.save(tmp_path / "more.npy", np.full((5, 2, 2), 7, "u1"))
    assert (unlabelled_rows(tmp_path / "more.npy", pixels) == 7).all()
    np.save(tmp_path / "more.npy", np.full((5, 3), 7, "u1"))
    with pytest.raises(DataError, match="give inputs like those"):
        unlabelled_rows(tmp_path / "more.npy", pixels)
