import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from disttrain.data.importers.idx import find_files, import_idx, read_idx
from disttrain.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray, code: int | None = None, shape: tuple[int, ...] | None = None):
    shape = array.shape if shape is None else shape
    head = bytes([0, 0, code or CODES[array.dtype.str[1:]], len(shape)])
    return head + struct.pack(f">{len(shape)}I", *shape) + array.astype(array.dtype.str).tobytes()


def write(path: Path, array: np.ndarray, **options) -> Path:
    path.write_bytes(idx_bytes(array.astype(array.dtype.newbyteorder(">")), **options))
    return path


IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([0, 1, 2, 1, 0], dtype=np.uint8)


@pytest.mark.parametrize("kind", sorted(CODES))
def test_every_element_type_is_read_in_the_machines_byte_order(tmp_path, kind):
    array = (np.arange(12).reshape(3, 4) - (0 if kind == "u1" else 5)).astype(kind)
    read = read_idx(write(tmp_path / "a", array))
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


def test_gzip_is_told_by_its_bytes_and_not_by_the_name(tmp_path):
    (tmp_path / "zipped").write_bytes(gzip.compress(idx_bytes(IMAGES)))
    plain = write(tmp_path / "plain.gz", IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path / "zipped"), IMAGES)
    np.testing.assert_array_equal(read_idx(plain), IMAGES)


GOOD = idx_bytes(IMAGES)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (GOOD[:-1], "is truncated: its header promises 30 bytes of shape (5, 2, 3)"),
        (GOOD[:9], "is truncated inside its header"),
        (GOOD + b"x", "goes on after the 30 bytes"),
        (b"\1" + GOOD[1:], "is not an IDX file (it starts with 01 00 08 03)"),
        (b"\0\0\x0a\3" + GOOD[4:], "is not an IDX file"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"1", "is not an IDX file"),
        (b"\0\0\x08\3" + b"\xff" * 12, "is truncated"),  # claims 2**96 bytes
        (gzip.compress(GOOD, mtime=0)[:-9], "is a truncated packed file"),
        (gzip.compress(GOOD, mtime=0)[:10] + b"\xff" * 30, "is a damaged packed file"),
        (gzip.compress(GOOD, mtime=0)[:-8] + b"\0" * 8, "is a damaged packed file"),
    ],
)
def test_a_bad_file_is_named_with_its_cause(tmp_path, content, cause):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path} {cause}")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_idx(tmp_path / "nope")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_idx(tmp_path)


def test_images_and_labels_become_splits(tmp_path):
    images, labels = write(tmp_path / "i", IMAGES), write(tmp_path / "l", LABELS)
    imported = import_idx({"train": (images, labels), "test": (images, labels)})
    assert set(imported.splits) == {"train", "test"}
    inputs, targets = imported.splits["train"]
    assert inputs.dtype == np.uint8
    assert targets.dtype == np.int64
    np.testing.assert_array_equal(inputs, IMAGES)
    np.testing.assert_array_equal(targets, LABELS)


def test_counts_that_disagree_name_both_files(tmp_path):
    images, labels = write(tmp_path / "i", IMAGES), write(tmp_path / "l", LABELS[:4])
    with pytest.raises(DataError) as caught:
        import_idx({"train": (images, labels)})
    assert f"{images} holds 5 images but {labels} 4 labels" in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        (np.array([0, 1, -2, 1, 0], dtype=np.int8), "class number -2 in row 2 is negative"),
        (np.array([0, 1, 2**30, 1, 0], dtype=np.int32), "in row 2 is out of range"),
        (np.zeros((5, 2), dtype=np.uint8), "class numbers are one per row"),
        (np.array([0, np.nan, 2, 1, 0], dtype=np.float32), "row 1, column 0 is nan"),
    ],
)
def test_bad_labels_are_named(tmp_path, labels, cause):
    files = {"train": (write(tmp_path / "i", IMAGES), write(tmp_path / "l", labels))}
    with pytest.raises(DataError, match=cause):
        import_idx(files)


def test_float_labels_and_regression_give_floats(tmp_path):
    images = write(tmp_path / "i", IMAGES)
    floats = write(tmp_path / "f", np.linspace(0, 1, 5, dtype=np.float32))
    assert import_idx({"train": (images, floats)}).splits["train"][1].shape == (5, 1)
    labels = write(tmp_path / "l", LABELS)
    targets = import_idx({"train": (images, labels)}, regression=True).splits["train"][1]
    assert targets.dtype == np.float32
    large = write(tmp_path / "n", LABELS.astype("i4") + 20180131)
    splits = import_idx({"train": (images, labels), "test": (images, large)}, regression=True)
    assert {own.dtype for _, own in splits.splits.values()} == {np.dtype(np.float64)}


def test_a_test_label_that_training_lacks_is_refused(tmp_path):
    images, labels = write(tmp_path / "i", IMAGES), write(tmp_path / "l", LABELS)
    more = write(tmp_path / "m", LABELS + np.uint8(1))
    with pytest.raises(DataError, match="class number 3 is out of range"):
        import_idx({"train": (images, labels), "test": (images, more)})


def test_files_are_found_gzipped_or_not_and_missing_ones_are_named(tmp_path):
    with pytest.raises(DataError, match="does not hold train-images-idx3-ubyte and train-labels"):
        find_files(tmp_path)
    images = write(tmp_path / "train-images-idx3-ubyte", IMAGES)
    labels = write(tmp_path / "train-labels.idx1-ubyte.gz", LABELS)
    assert find_files(tmp_path) == {"train": (images, labels)}
    write(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    with pytest.raises(DataError, match="does not hold t10k-labels-idx1-ubyte "):
        find_files(tmp_path)
