from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, save
from disttrain.data import read_facts
from disttrain.errors import DataError

X, Y = np.zeros((6, 2, 3), "f4"), np.arange(6) % 2
Write = Callable[..., str]


def refused(path: str | Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_facts(str(path))
    assert Path(path).name in str(caught.value)


def test_what_a_file_holds_is_read_from_its_headers(write_data: Write) -> None:
    path = write_data(attributes={"classes": ["a", "ä"]}, train=(X, Y), test=(X[:2], Y[:2]))
    file = read_facts(path)
    assert list(file.splits) == ["train", "test"]
    assert file.class_names == ("a", "ä")
    train = file.splits["train"]
    assert (train.rows, train.shape, train.inputs, train.has_classes) == (6, (2, 3), 6, True)


def test_a_missing_file_names_the_cure(tmp_path: Path) -> None:
    refused(tmp_path / "no.h5", "does not exist.*disttrain prepare")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    refused(tmp_path, "is not a file")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89HDF\r\n\x1a\n" + b"x" * 500])
def test_a_file_that_is_no_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    refused(path, "can't be read")


def test_a_file_that_was_cut_off(write_data: Write) -> None:
    path = Path(write_data(train=(np.zeros((500, 4)), np.zeros(500, int))))
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, "can't be read")


def test_a_checkpoint_is_not_data(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    save(path, Snapshot(1, 0.5, "", {}, {}, {}))
    refused(path, "is a checkpoint, not a data file")


def test_another_version(write_data: Write) -> None:
    refused(write_data(attributes={"version": 2}, train=(X, Y)), "version 2, not 1")


def test_a_plain_hdf5_file_of_the_right_form_will_do(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/inputs"], file["train/targets"] = X, Y
    assert read_facts(str(tmp_path / "a.h5")).splits["train"].rows == 6


def test_no_group_to_train_or_test_on(write_data: Write) -> None:
    refused(write_data(validation=(X, Y)), "neither a group 'train' nor 'test'")


def test_a_group_without_its_datasets(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/inputs"] = X
    refused(tmp_path / "a.h5", "no dataset 'train/targets'")


def test_hdf5_of_another_program_is_told_how_it_is_prepared_or_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"], file["y"] = X, Y
    refused(tmp_path / "a.h5", r"another program; `disttrain prepare hdf5 .*a.h5 data.h5` lists")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["train/X"], file["train/targets"] = X, Y
    refused(tmp_path / "b.h5", r"it holds .*/train/X .* by data.inputs and data.targets")


def test_a_dataset_in_the_place_of_a_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train"] = X
    refused(tmp_path / "a.h5", "no dataset 'train/inputs'")


def test_other_names_can_be_mapped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/x"], file["train/y"] = X, Y
    assert read_facts(str(tmp_path / "a.h5"), ("x", "y")).names == ("x", "y")


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (X, Y[:5], "6 inputs but 5 targets"),
        (X[:0], Y[:0], "train holds no samples"),
        (np.zeros((6, 0)), Y, "train holds no samples"),
        (np.array([b"a"] * 6), Y, "train/inputs does not hold numbers"),
        (X, np.array([b"a"] * 6), "train/targets does not hold numbers"),
        (X.astype("c8"), Y, "train/inputs does not hold numbers"),
        (np.float64(3), np.int64(1), "holds a single number"),
    ],
)
def test_a_split_that_can_not_be_used(
    write_data: Write, inputs: np.ndarray, targets: np.ndarray, words: str
) -> None:
    refused(write_data(train=(inputs, targets)), words)


def test_text_of_varying_length_is_no_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/inputs"], file["train/targets"] = X, ["a", "bc", "d", "e", "f", "g"]
    refused(tmp_path / "a.h5", "train/targets does not hold numbers")


def test_splits_of_samples_of_different_shape(write_data: Write) -> None:
    refused(
        write_data(train=(X, Y), test=(X[:, :1], Y)),
        r"samples of test are .*\(1, 3\).* those of train .*\(2, 3\)",
    )


def test_splits_with_classes_here_and_numbers_there(write_data: Write) -> None:
    refused(
        write_data(train=(X, Y), test=(X, Y + 0.5)),
        "samples of test are .* with 1 numbers, those of train .* with classes",
    )


def test_pixels_here_and_fractions_there(write_data: Write) -> None:
    """uint8 is divided by 255 and nothing else is: one divisor can't serve both."""
    refused(
        write_data(train=(X.astype("u1"), Y), test=(X, Y)),
        "samples of test are float32 .* those of train uint8",
    )
