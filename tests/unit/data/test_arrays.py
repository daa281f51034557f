import io
import zipfile

import numpy as np
import pytest

from disttrain.data.importers.arrays import import_npy, import_npz
from disttrain.errors import DataError, UsageError

X = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
Y = np.array([0, 2, 1, 0], dtype=np.int32)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("inputs", "targets"), "train"),
        (("X_train", "y_train"), "train"),
        (("train_inputs", "train_targets"), "train"),
        (("x_test", "y_test"), "test"),
        (("test_inputs", "test_targets"), "test"),
        (("x_val", "y_val"), "validation"),
        (("validation_inputs", "validation_targets"), "validation"),
        (("train_images", "train_labels"), "train"),
        (("test_images", "test_labels"), "test"),
        (("data", "target"), "train"),
        (("images_train", "labels_train"), "train"),
        (("arr_0", "arr_1"), "train"),
    ],
)
def test_known_names_become_splits(tmp_path, names, split):
    arrays = dict(zip(names, (X, Y), strict=True)) | ({"x": X, "y": Y} if split != "train" else {})
    inputs, targets = import_npz(saved(tmp_path / "a.npz", **arrays)).splits[split]
    np.testing.assert_array_equal(inputs, X)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(targets, Y)
    assert targets.dtype == np.int64


def test_float_targets_are_a_regression_and_booleans_are_not_pixels(tmp_path):
    path = saved(tmp_path / "a.npz", x=X > 3, y=np.linspace(0, 1, 4))
    inputs, targets = import_npz(path).splits["train"]
    assert inputs.dtype == np.float32
    assert targets.shape == (4, 1)
    assert targets.dtype == np.float64
    path = saved(tmp_path / "b.npz", x=X, y=Y)
    assert import_npz(path, regression=True).splits["train"][1].dtype == np.float32


BAD_X = X.copy()
BAD_X[2, 1, 1] = np.inf


@pytest.mark.parametrize(
    ("arrays", "cause"),
    [
        (
            {"pictures": X, "numbers": Y},
            "no inputs and targets under a known name; it holds pictures",
        ),
        ({"x_train": X}, "holds 'x_train' but no 'y_train'"),
        ({"x": X, "y": Y[:3]}, "4 rows of inputs but 3 targets"),
        ({"x": BAD_X, "y": Y}, "x: row 2, column 4 is inf"),
        ({"x": X, "y": np.float32([0, 1, np.nan, 3])}, "y: row 2, column 0 is nan"),
        ({"x": X, "y": Y - 1}, "y: class number -1 in row 0 is negative"),
        ({"x": X, "y": Y + 2**30}, "y: class number 1073741824 in row 0 is out of range"),
        ({"x": X, "y": np.eye(4, dtype=int) * 2}, "class numbers are one per row"),
        ({"x": X.astype(complex), "y": Y}, "x have dtype complex128"),
        (
            {"x": X, "y": np.array(list("abca")), "x_test": X, "y_test": np.array(list("abcd"))},
            "y_test holds the class 'd', which training has not",
        ),
        ({"x": X, "y": Y.astype("M8[s]")}, "y have dtype datetime64"),
        ({"x": X[:0], "y": Y[:0]}, "hold no rows"),
        ({"x": np.float32(1), "y": Y}, "hold no rows|need rows|rows of inputs"),
        ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y}, r"rows of shape \(1, 3\)"),
        ({"x": X, "y": Y, "x_test": X.astype("u1"), "y_test": Y}, "inputs of dtype uint8"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "class number 3 is out of range"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y * 1.0}, "targets of dtype float64"),
        ({"x_test": X, "y_test": Y}, "under a known name; it holds x_test, y_test"),
    ],
)
def test_bad_arrays_are_named_with_their_cause(tmp_path, arrays, cause):
    path = saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=cause) as caught:
        import_npz(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_pickled_objects_are_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    path = saved(tmp_path / "a.npz", x=np.array([Trap()] * 4, dtype=object), y=Y)
    with pytest.raises(DataError, match="could run code"):
        import_npz(path)
    np.save(tmp_path / "x.npy", np.array([Trap()] * 4, dtype=object))
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match="could run code"):
        import_npy(tmp_path / "x.npy", tmp_path / "y.npy")


def test_damaged_files_are_refused(tmp_path):
    path = saved(tmp_path / "a.npz", x=X, y=Y)
    content = path.read_bytes()
    for bad, cause in (
        (b"", "is empty"),
        (content[:200], "damaged"),
        (content.replace(X[1].tobytes(), X[2].tobytes()), "damaged"),
        (b"hello, this is text\n", "not an array file"),
    ):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=cause):
            import_npz(path)
    with pytest.raises(DataError, match="does not exist"):
        import_npz(tmp_path / "nope.npz")
    with pytest.raises(DataError, match="is a folder"):
        import_npz(tmp_path)


def test_a_header_that_lies_about_the_size_is_refused(tmp_path):
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (1 << 44, 2)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match="damaged or truncated"):
        import_npz(tmp_path / "a.npz")
    (tmp_path / "x.npy").write_bytes(header.getvalue())
    with pytest.raises(DataError, match="damaged or truncated"):
        import_npy(tmp_path / "x.npy", tmp_path / "x.npy")


def test_two_npy_files_are_read_without_loading_the_inputs(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    inputs, targets = import_npy(tmp_path / "x.npy", tmp_path / "y.npy").splits["train"]
    assert isinstance(inputs, np.memmap)
    np.testing.assert_array_equal(inputs, X)
    np.testing.assert_array_equal(targets, Y)


def test_npy_and_npz_taken_for_one_another_say_what_to_do(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(UsageError, match="--targets"):
        import_npz(tmp_path / "x.npy")
    path = saved(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(UsageError, match="give it alone"):
        import_npy(path, path)


def test_labels_may_be_text_and_are_matched_by_name(tmp_path):
    path = saved(
        tmp_path / "a.npz", x=X, y=np.array(["cow", "ant", "bee", "ant"]),
        x_test=X[:2], y_test=np.array([b"cow", b"bee"]),
    )  # fmt: skip
    imported = import_npz(path)
    assert imported.classes == ["ant", "bee", "cow"]
    assert imported.splits["train"][1].tolist() == [2, 0, 1, 0]
    assert imported.splits["test"][1].tolist() == [2, 1]


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_rows_of_a_single_1_are_classes(tmp_path, dtype):
    path = saved(tmp_path / "a.npz", x=X, y=np.eye(3)[[2, 0, 1, 0]].astype(dtype))
    assert import_npz(path).splits["train"][1].tolist() == [2, 0, 1, 0]
    assert import_npz(path, regression=True).splits["train"][1].shape == (4, 3)


def test_labels_that_are_python_objects_are_told_so(tmp_path):
    path = saved(tmp_path / "a.npz", x=X, y=np.array(["a", "b", "a", "b"], dtype=object))
    with pytest.raises(DataError, match=r"Python objects.*labels.astype\(str\)"):
        import_npz(path)


def test_whole_quantities_keep_what_float32_would_lose(tmp_path):
    codes = 20180130 + np.arange(4)
    for kind, want in ((codes, np.float64), (np.arange(4), np.float32)):
        path = saved(tmp_path / "a.npz", x=X, y=kind)
        targets = import_npz(path, regression=True).splits["train"][1]
        np.testing.assert_array_equal(targets[:, 0], kind)
        assert targets.dtype == want


def test_what_is_passed_over_and_what_may_be_classes_is_said(tmp_path):
    path = saved(tmp_path / "a.npz", x=X, y=Y.astype(float), names=np.array(["a", "b"]))
    over, perhaps = import_npz(path).notes
    assert over == "passed over the array names"
    assert "3 different whole numbers, stored as float64, and are taken for quantities" in perhaps
    assert import_npz(saved(tmp_path / "b.npz", x=X, y=Y + 0.5)).notes == ()
    assert import_npz(saved(tmp_path / "c.npz", features=X, target=Y)).notes == ()


@pytest.mark.parametrize("large", ["train", "test"])
def test_quantities_have_one_type_in_all_splits(tmp_path, large):
    y = {"train": np.array([0, 1, 2, 3]), "test": np.array([3, 2, 1, 0])}
    y[large] = y[large] + 20180131
    path = saved(tmp_path / "a.npz", x_train=X, y_train=y["train"], x_test=X, y_test=y["test"])
    splits = import_npz(path, regression=True).splits
    for split, want in y.items():
        assert splits[split][1].dtype == np.float64
        np.testing.assert_array_equal(splits[split][1][:, 0], want)
