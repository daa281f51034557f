import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import (
    ArrayRows,
    Batches,
    BlockShuffle,
    Dataset,
    Feed,
    Shares,
    measure,
    open_dataset,
)
from disttrain.data.order import POOL_BLOCKS
from disttrain.data.source import PickedRows
from disttrain.errors import DataError

Write = Callable[..., str]
X, Y = np.random.default_rng(0).normal(size=(30, 2, 3)).astype("f4"), np.arange(30) % 3


def opened(path: str, seed: int = 1, **settings: Any) -> Dataset:
    return open_dataset(Data(path=path, **settings), seed, Alone())


def rows_of(dataset: Dataset, split: str) -> np.ndarray:
    rows = dataset.splits[split].rows
    stored, places = rows.locate(np.arange(rows.count))
    return stored[places]


def test_splits_sizes_and_classes(write_data: Write) -> None:
    dataset = opened(write_data(train=(X, Y), validation=(X[:9], Y[:9])))
    assert {name: s.count for name, s in dataset.splits.items()} == {"train": 30, "validation": 9}
    assert (dataset.shape, dataset.classes, dataset.outputs) == ((2, 3), 3, 3)
    np.testing.assert_array_equal(rows_of(dataset, "train"), X.reshape(30, 6))
    assert dataset.splits["train"].targets.dtype == np.int64


def test_validation_rows_are_set_aside_where_the_file_has_none(write_data: Write) -> None:
    path = write_data(train=(X, Y), test=(X[:3], Y[:3]))
    dataset = opened(path, validation_fraction=0.2)
    assert {n: s.count for n, s in dataset.splits.items()} == {
        "train": 24, "test": 3, "validation": 6,
    }  # fmt: skip
    both = np.concatenate([rows_of(dataset, "train"), rows_of(dataset, "validation")])
    np.testing.assert_array_equal(np.sort(both[:, 0]), np.sort(X[:, 0, 0]))
    np.testing.assert_array_equal(np.bincount(dataset.splits["validation"].targets), [2, 2, 2])
    for name in ("train", "validation"):
        row_of = {float(x): int(y) for x, y in zip(X[:, 0, 0], Y, strict=True)}
        want = [row_of[float(x)] for x in rows_of(dataset, name)[:, 0]]
        assert dataset.splits[name].targets.tolist() == want
    other = opened(path, seed=2, validation_fraction=0.2)
    assert rows_of(other, "validation").tolist() != rows_of(dataset, "validation").tolist()


def test_a_file_with_a_validation_split_keeps_all_its_training_rows(write_data: Write) -> None:
    path = write_data(train=(X, Y), validation=(X[:9], Y[:9]))
    assert opened(path, validation_fraction=0.5).splits["train"].count == 30


def test_no_fraction_no_validation(write_data: Write) -> None:
    dataset = opened(write_data(train=(X, Y)), validation_fraction=0.0)
    assert list(dataset.splits) == ["train"]


def test_negative_labels_are_named_by_row(write_data: Write) -> None:
    bad = Y.copy()
    bad[7] = -1
    with pytest.raises(DataError, match=r"train/targets row 7 is -1: classes count from 0"):
        opened(write_data(train=(X, bad)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_inputs_that_are_no_numbers_are_named_by_row(
    write_data: Write, value: float, memory: str
) -> None:
    bad = X.copy()
    bad[17, 1, 2] = value
    with pytest.raises(DataError, match="train/inputs row 17 holds NaN or infinity"):
        rows_of(
            opened(
                write_data(train=(bad, Y)), memory=memory, block_rows=4, validation_fraction=0.0
            ),
            "train",
        )


def test_the_row_is_that_of_the_file_also_after_a_split(write_data: Write) -> None:
    bad = X.copy()
    bad[17] = np.nan
    with pytest.raises(DataError, match="train/inputs row 17 "):
        opened(write_data(train=(bad, Y)), validation_fraction=0.3, block_rows=5)


def test_targets_that_are_no_numbers_are_named_by_row(write_data: Write) -> None:
    bad = np.zeros((30, 2))
    bad[5, 1] = np.nan
    with pytest.raises(DataError, match="train/targets row 5 holds NaN"):
        opened(write_data(train=(X, bad)))


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 4)])
def test_numbers_to_be_fitted_have_a_column_each(write_data: Write, shape: tuple) -> None:
    dataset = opened(write_data(train=(X, np.ones(shape))))
    columns = (*shape, 1)[1]
    assert (dataset.classes, dataset.outputs) == (0, columns)
    assert dataset.splits["train"].targets.shape == (27, columns)


def test_classes_in_a_column_are_classes(write_data: Write) -> None:
    dataset = opened(write_data(train=(X, Y.reshape(30, 1))))
    assert dataset.classes == 3
    assert dataset.splits["train"].targets.shape == (27,)


def test_more_classes_than_names(write_data: Write) -> None:
    with pytest.raises(DataError, match=r"train holds class 2, but only 2 classes are named"):
        opened(write_data(attributes={"classes": ["a", "b"]}, train=(X, Y)))


def test_names_may_be_more_than_the_classes_that_occur(write_data: Write) -> None:
    dataset = opened(write_data(attributes={"classes": list("abcde")}, train=(X, Y)))
    assert dataset.outputs == 5
    assert dataset.class_names == tuple("abcde")


@pytest.mark.parametrize("attributes", [{}, {"format": "disttrain-data", "version": 1}])
def test_labels_from_1_to_k_are_names_of_k_classes(write_data: Write, attributes: dict) -> None:
    dataset = opened(write_data(attributes=attributes, train=(X, Y + 1), test=(X[:3], [1, 3, 3])))
    assert (dataset.classes, dataset.class_names) == (3, ("1", "2", "3"))
    np.testing.assert_array_equal(dataset.splits["test"].targets, [0, 2, 2])


@pytest.mark.parametrize("labels", [(1, 2, 4), (0, 1, 2), (2, 3, 4)])
def test_other_labels_stay_numbers(write_data: Write, labels: tuple) -> None:
    dataset = opened(write_data(train=(X, np.array(labels)[Y])))
    assert (dataset.classes, dataset.class_names) == (max(labels) + 1, ())


def test_a_class_that_only_the_test_split_holds_counts(write_data: Write) -> None:
    assert opened(write_data(train=(X, Y), test=(X[:3], [0, 1, 5]))).classes == 6


@pytest.mark.parametrize("dtype", ["f4", "u1", ">f4", ">i2", "?"])
@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_streamed_data_make_the_same_batches_bit_for_bit(
    write_data: Write, dtype: str, fraction: float
) -> None:
    random = np.random.default_rng(1)
    inputs = random.integers(0, 200, (203, 5)).astype(dtype)
    path = write_data(train=(inputs, np.arange(203) % 4))
    found = []
    for memory in ("shared", "stream"):
        dataset = opened(path, memory=memory, block_rows=8, validation_fraction=fraction)
        assert dataset.streamed is (memory == "stream")
        split = dataset.splits["train"]
        feed = Feed(measure("standardize", split.rows, Alone()), dataset.shape, "float32", Cpu())
        batches = Batches(split, BlockShuffle(split.count, 1, 8), 30, feed, Shares(0, 1))
        found.append(
            [
                (part.inputs.tobytes(), part.targets.tobytes())
                for step in range(2 * batches.steps_per_epoch)
                for part in batches.parts_of(step)
            ]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["f8", "u1", ">f4"])
@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_rows_lie_where_their_addresses_say(write_data: Write, dtype: str, memory: str) -> None:
    random = np.random.default_rng(1)
    inputs = random.integers(0, 200, (203, 5)).astype(dtype)
    path = write_data(train=(inputs, np.arange(203) % 4))
    rows = opened(path, memory=memory, block_rows=8, validation_fraction=0.0).splits["train"].rows
    some = PickedRows(rows, np.arange(50, 120))
    for each in (rows, some, rows):
        # All at once are in more blocks than are kept; then a few of them at a time.
        # Those of a pool are parts of one array.
        pool = random.permutation(60)
        parts = [part for low in range(0, 60, 7) for part in (pool[low : low + 7], pool[low:30:3])]
        some_more = random.integers(0, each.count, (40, 9)), random.permutation(each.count)[None]
        for samples in (*parts[:9], *some_more[0], *some_more[1], *parts[9:]):
            addresses = each.addresses(samples)
            assert addresses is not None
            at = [ctypes.string_at(address, 5 * inputs.itemsize) for address in addresses.tolist()]
            stored, places = each.locate(samples)
            assert b"".join(at) == stored[places].astype(stored.dtype.newbyteorder("=")).tobytes()
    assert ArrayRows(inputs[:, ::2]).addresses(np.arange(3)) is None


def test_no_more_blocks_of_streamed_rows_than_two_pools_are_in_memory(
    write_data: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that cross the borders of pools, a pass over all rows at an epoch's end, the next."""
    path = write_data(train=(np.zeros((1500, 5), "f4"), np.arange(1500) % 4))
    rows = opened(path, memory="stream", block_rows=8, validation_fraction=0.0).splits["train"].rows
    read, most = set[int](), 0

    class Block(np.ndarray):
        """An array that can be counted while it is there."""

        def __del__(self) -> None:
            read.discard(id(self))

    def counted(array: np.ndarray, *_: object) -> np.ndarray:
        nonlocal most
        block = array.copy().view(Block)
        read.add(id(block))
        most = max(most, len(read))
        return block

    monkeypatch.setattr(np, "require", counted)
    order = BlockShuffle(rows.count, 1, 8)
    for epoch in range(2):
        for low in range(0, rows.count, 50):
            rows.addresses(order.samples(epoch, low, min(low + 50, rows.count)))
        rows.locate(np.arange(rows.count))
    assert most == 2 * POOL_BLOCKS


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev"])
def test_groups_of_other_programs_are_splits_under_the_names_that_they_have(
    write_data: Write, name: str
) -> None:
    path = write_data(**{"train": (X, Y), name: (X[:9], Y[:9]), "Test": (X[:6], Y[:6])})
    dataset = opened(path)
    assert {split: part.count for split, part in dataset.splits.items()} == {
        "train": 30, "validation": 9, "test": 6,
    }  # fmt: skip


def test_truth_values_are_two_classes(write_data: Write) -> None:
    dataset = opened(write_data(train=(X, Y > 1)))
    assert dataset.classes == 2
    targets = np.concatenate([split.targets for split in dataset.splits.values()])
    assert np.bincount(targets).tolist() == [20, 10]
