"""Files as they occur outside: each kind is read as it is meant, or refused by one sentence."""

import zipfile

import h5py
import numpy as np
import pytest

from disttrain.data.importers.arrays import import_npz
from disttrain.data.importers.hdf5 import import_hdf5
from disttrain.data.importers.idx import import_idx
from disttrain.data.importers.tables import Options, import_table
from disttrain.data.normalization import Normalization
from disttrain.data.others.arrays import from_npy, from_npz
from disttrain.data.others.base import Wanted
from disttrain.data.others.table import from_table
from disttrain.data.taught import Taught
from disttrain.errors import DataError

ROWS = 60
X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
CLASSES = np.arange(ROWS) % 3
PLAIN = "a,b,kind\n" + "".join(f"{n * 0.5},{n},{'xy'[n % 2]}\n" for n in range(ROWS))


def read(tmp_path, text, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_table(path, Options(**options))


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return import_npz(tmp_path / "a.npz")


def idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(head + array.astype("u1").tobytes())
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS"),
        ("<!DOCTYPE html>\n<html><body>not found</body></html>\n", "is a web page or XML"),
        ("% about\n@RELATION r\n@ATTRIBUTE a NUMERIC\n@DATA\n1,2,x\n3,4,y\n", "is ARFF"),
        ("1 qid:1 1:0.5 3:2\n0 qid:1 2:1\n", "in LIBSVM's format"),
        ("1\n-1 1:0.5 3:2\n1 2:1\n", "in LIBSVM's format"),
        ("# made by x\n1 1:0.5 3:2\n-1 2:1\n", "in LIBSVM's format"),
        (b"ARROW1\0\0abc", "is a Feather file"),
        (b"\x93NUMPY\x01\0", "prepare npz"),
        (b"\x89HDF\r\n\x1a\n\0", "prepare hdf5"),
        (b"MATLAB 5.0 MAT-file, Platform", "is a file of MATLAB"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook"),
        (b"\x28\xb5\x2f\xfdabc", "packed by zstd"),
        (b"\x80\x04\x95abc", "is a pickle"),
        ("a,kind\n" + "1,x\n2,y\n" * 9 + "a,kind\n1,x\n", "has the names of its columns again"),
        ("a,b,id\n" + "".join(f"{n * 0.5},{n},{n}\n" for n in range(9)), "last column, 'id'"),
        ("a,b,c\n" + "".join(f"{n * 0.5},{n},{n},x\n" for n in range(9)), "one cell more than"),
        ("a,b,c\n" + "".join(f"{n % 3},{n},{n},x\n" for n in range(9)), "one cell more than"),
        ("a:b:kind\n1:2:x\n3:4:y\n", "commas, semicolons, tabs, bars or blanks separate"),
        (PLAIN.replace("x", "x\0y", 1), "table.csv: the target column 'kind': the name of the"),
    ],
)
def test_a_table_of_another_kind_is_named(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [2**63, 10**22])
def test_whole_numbers_that_become_one_number_are_refused(tmp_path, start):
    rows = "".join(f"{start + n},{n},{'xy'[n % 2]}\n" for n in range(30))
    with pytest.raises(DataError, match="'a' are so large that float64 does not tell them apart"):
        read(tmp_path, "a,b,kind\n" + rows)
    rows = "".join(f"{n * 0.5},{start + n}\n" for n in range(30))
    with pytest.raises(DataError, match=r"'b' holds numbers such as .* does not tell apart"):
        read(tmp_path, "a,b\n" + rows)
    rows = "".join(f"{start},{n},{'xy'[n % 2]}\n" for n in range(30))
    assert read(tmp_path, "a,b,kind\n" + rows).splits["train"][0].shape == (30, 2)


def test_quoted_decimal_commas_leave_commas_between_cells(tmp_path):
    rows = "".join(f'"{n},5","{2 * n},25",{"xy"[n % 2]}\n' for n in range(30))
    inputs, _ = read(tmp_path, "a,b,kind\n" + rows, decimal=",").splits["train"]
    np.testing.assert_array_equal(inputs, [[n + 0.5, 2 * n + 0.25] for n in range(30)])


def test_what_macos_adds_to_an_archive_is_no_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("__MACOSX/._a.csv", b"\0\5\x16\7")
    assert import_table(tmp_path / "a.zip").splits["train"][0].shape == (ROWS, 2)


def test_an_input_that_may_tell_the_target_is_said(tmp_path):
    rows = "".join(f"{n},{'xy'[n % 2]},{n % 2}\n" for n in range(30))
    notes = read(tmp_path, "a,label,target\n" + rows).notes
    assert any("'target', which may tell it, is an input: --drop 'target'" in n for n in notes)
    assert not any("may tell" in n for n in read(tmp_path, "a,b,label\n" + rows).notes)


def test_numbers_as_texts_are_classes_in_the_order_of_their_values(tmp_path):
    texts = np.array(["1", "2", "10"])[CLASSES]
    imported = npz(tmp_path, x=X, y=texts)
    assert imported.classes == ["1", "2", "10"]
    np.testing.assert_array_equal(imported.splits["train"][1], CLASSES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = X, texts.astype("S")
    stored = import_hdf5(tmp_path / "a.h5", {"train": ("x", "y")})
    assert stored.classes == ["1", "2", "10"]
    np.testing.assert_array_equal(stored.splits["train"][1], CLASSES)


def test_blanks_around_names_of_classes_do_not_count(tmp_path):
    texts = np.array(["ant", "bee ", "bee"])[CLASSES]
    assert npz(tmp_path, x=X, y=texts).classes == ["ant", "bee"]


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (CLASSES + 1, CLASSES, r"counted from 1 \(1 to 3\), but those of test from 0"),
        (np.eye(3)[CLASSES], np.eye(2)[CLASSES % 2], "y_test has 2 columns of classes, but"),
        (CLASSES, np.eye(4)[CLASSES], "y_test has 4 columns of classes, but the training has 3"),
        (np.char.mod("%.2f", np.arange(ROWS) / 7), None, "which are numbers: save them as such"),
    ],
)
def test_targets_of_arrays_that_would_be_misread_are_refused(tmp_path, train, test, words):
    more = {} if test is None else {"x_test": X, "y_test": test}
    with pytest.raises(DataError, match=words):
        npz(tmp_path, x_train=X, y_train=train, **more)


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (X, CLASSES * 10, "18 of the 21 classes, 0 to 20, have no training row"),
        (X, np.array(["a", "nan", "b"])[CLASSES], "'nan' is a class in y"),
        (np.zeros((ROWS, 3, 8, 8), "f4"), CLASSES, "with its channels first"),
    ],
)
def test_what_is_odd_in_arrays_is_said(tmp_path, inputs, targets, words):
    (note,) = npz(tmp_path, x=inputs, y=targets).notes
    assert words in note


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (1950 + np.arange(ROWS), "60 different years from 1950 to 2009, taken for classes"),
        (np.arange(ROWS) * 997, "60 different numbers from 0 to 58823, taken for classes"),
        (np.arange(ROWS) % 20 * 7 + 3, "20 different numbers from 3 to 136, taken for classes"),
        (np.char.mod("p%d", np.arange(ROWS)), "holds another text in every row"),
    ],
)
def test_classes_that_may_be_none_are_said_and_accepted(tmp_path, targets, words):
    imported = npz(tmp_path, x=X, y=targets)
    assert words in imported.notes[0]
    found = imported.splits["train"][1]
    if targets.dtype.kind == "i":
        np.testing.assert_array_equal(found, targets)
        if targets.max() < 256:
            files = {"train": (idx(tmp_path / "i", X[:, :, None]), idx(tmp_path / "l", targets))}
            assert words in import_idx(files).notes[-2]
    else:
        np.testing.assert_array_equal(np.array(imported.classes)[found], targets)


def test_classes_of_test_that_are_not_all_shifted_are_said(tmp_path):
    for test in (CLASSES % 2, np.arange(ROWS) % 4):
        notes = npz(tmp_path, x_train=X, y_train=CLASSES + 1, x_test=X, y_test=test).notes
        assert notes == ("test has rows of classes that train has none of: 0",)


def test_small_numbers_in_bytes_stay_bytes_and_are_said(tmp_path):
    counts = (np.arange(ROWS * 4).reshape(ROWS, 4) % 128).astype("u1")
    imported = npz(tmp_path, x=counts, y=CLASSES)
    inputs, _ = imported.splits["train"]
    assert inputs.dtype == np.uint8
    np.testing.assert_array_equal(inputs, counts)
    (note,) = imported.notes
    assert note.startswith("the inputs are bytes from 0 to 127: small whole numbers as bytes are ")
    assert 'divided by 255: give them as floats (x.astype("float32")) if they are counts' in note
    for pixels in (counts + np.uint8(1), np.full((ROWS, 4, 4), 9, "u1")):
        imported = npz(tmp_path, x=pixels, y=CLASSES)
        assert imported.splits["train"][0].dtype == np.uint8
        assert not imported.notes
    assert not npz(tmp_path, x=counts.astype("f4"), y=CLASSES).notes


def test_a_network_trained_on_bytes_reads_small_and_large_ones(tmp_path):
    network = Taught("run", (4,), 3, 3, Normalization("none", 255.0, np.zeros(4), np.ones(4)))
    for most in (17, 121, 256):
        x = (np.arange(ROWS * 4).reshape(ROWS, 4) % most).astype("u1")
        made = npz(tmp_path, x=x, y=CLASSES).splits["train"][0]
        assert made.dtype == x.dtype
        np.savez(tmp_path / "t.npz", x=made, y=CLASSES)
        read = from_npz(tmp_path / "t.npz", network, Wanted(), lambda *_: None)
        np.testing.assert_array_equal(read.split.rows.locate(np.arange(ROWS))[0], x)


@pytest.mark.parametrize("blank", ["\n", "  \n", "\r\n", "\t \n"])
def test_many_blank_lines_before_a_table_or_arff_take_no_time(tmp_path, blank):
    assert read(tmp_path, blank * 2000 + PLAIN).classes == ["x", "y"]
    with pytest.raises(DataError, match="is ARFF"):
        read(tmp_path, blank * 2000 + "% about\n @relation r\n@DATA\n1,x\n")


def test_cells_that_are_names_of_columns_are_no_names_again(tmp_path):
    rows = ("A,C,G,T,y", "C,C,G,T,n", "A,G,G,A,y", "A,C,T,T,n", "T,C,G,T,y", "A,C,G,T,n")
    assert read(tmp_path, "\n".join((*rows, *rows[1:], ""))).classes == ["n", "y"]
    with pytest.raises(DataError, match="names of its columns again"):
        read(tmp_path, "\n".join((*rows, *rows, "")))


def test_labels_given_for_images_and_labels_counted_otherwise_are_refused(tmp_path):
    images, labels = np.zeros((ROWS, 6, 6)), CLASSES
    files = {"train": (idx(tmp_path / "i", images), idx(tmp_path / "l", labels + 1))}
    files["test"] = (tmp_path / "i", idx(tmp_path / "t", labels))
    with pytest.raises(DataError, match="counted from 1"):
        import_idx(files)
    with pytest.raises(DataError, match="holds one number a sample, as labels do"):
        import_idx({"train": (tmp_path / "l", tmp_path / "l")})


def used_on(tmp_path, names=(), **arrays):
    """Return the sample of an .npz for a network of three classes, read with its targets."""
    network = Taught("run", (4,), 3, 3, Normalization("none", 1.0, np.zeros(4), np.ones(4)), names)
    np.savez(tmp_path / "t.npz", **arrays)
    return from_npz(tmp_path / "t.npz", network, Wanted(), lambda *_: None)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (CLASSES + 1, "y holds the class 3, but the classes of run are 0, 1, 2"),
        (CLASSES.astype(float), "y holds float64, which are no classes"),
        (np.array(["0", "1", "x"])[CLASSES], r"t\.npz, y: targets "),
    ],
)
def test_targets_that_are_not_the_networks_classes_are_refused(tmp_path, targets, words):
    with pytest.raises(DataError, match=words):
        used_on(tmp_path, x=X, y=targets)
    good = used_on(tmp_path, x=X, y=np.eye(3)[CLASSES])
    np.testing.assert_array_equal(good.split.targets, CLASSES)
    assert not good.notes


@pytest.mark.parametrize(
    ("targets", "notes"),
    [
        (CLASSES[:, None], 0), (CLASSES % 2 == 1, 0), (CLASSES.astype("u1"), 0),
        (np.eye(3, dtype=bool)[CLASSES], 0), (np.eye(4)[CLASSES], 1), (np.eye(2)[CLASSES % 2], 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [(), ("ant", "bee", "cow")])
def test_forms_of_the_networks_classes(tmp_path, names, targets, notes):
    found = used_on(tmp_path, names, x=X, y=targets)
    wide = targets.ndim == 2 and targets.shape[1] > 1
    numbers = targets.argmax(axis=1) if wide else targets.reshape(ROWS)
    np.testing.assert_array_equal(found.split.targets, numbers)
    assert len(found.notes) == notes
    assert all(f"has {targets.shape[1]} columns of classes, but" in n for n in found.notes)


def test_classes_counted_from_0_for_a_network_whose_names_count_from_1_are_said(tmp_path):
    names = ("1", "2", "3")
    (note,) = used_on(tmp_path, names, x=X, y=CLASSES).notes
    assert "counts classes from 0, and the class called 1 is 0" in note
    named = used_on(tmp_path, names, x=X, y=CLASSES + 1)
    assert not named.notes
    np.testing.assert_array_equal(named.split.targets, CLASSES)
    padded = used_on(tmp_path, ("a", "b", "c"), x=X, y=np.array(["a ", "b", " c"])[CLASSES])
    np.testing.assert_array_equal(padded.split.targets, CLASSES)


def test_inputs_of_another_shape_name_their_file(tmp_path):
    network = Taught("run", (4,), 3, 3, Normalization("none", 1.0, np.zeros(4), np.ones(4)))
    np.save(tmp_path / "x.npy", X[:, :3])
    with pytest.raises(DataError, match=r"x\.npy, its array: inputs have 3 numbers a sample"):
        from_npy(tmp_path / "x.npy", network, Wanted(labelled=False), lambda *_: None)


def test_a_column_too_many_is_not_passed_over_where_no_names_are_known(tmp_path):
    network = Taught("run", (4,), 3, 3, Normalization("none", 1.0, np.zeros(4), np.ones(4)))
    path = tmp_path / "new.csv"
    path.write_text("nr,a,b,c,d\n" + "".join(f"{n},{n},1,2,{n * 0.5}\n" for n in range(9)))
    with pytest.raises(DataError, match="has 5 columns, but the network of run takes 4 numbers"):
        from_table(path, network, Wanted(labelled=False), lambda *_: None)
    path.write_text("a,b,c,d,label\n" + "".join(f"{n},1,2,{n * 0.5},1\n" for n in range(9)))
    rows = from_table(path, network, Wanted(labelled=False), lambda *_: None).split.rows
    stored, _ = rows.locate(np.arange(9))
    np.testing.assert_array_equal(stored[:, 3], np.arange(9) * 0.5)


def test_a_header_alone_is_named_in_a_table_to_be_used_too(tmp_path):
    assert read(tmp_path, PLAIN).classes == ["x", "y"]
    (tmp_path / "empty.csv").write_text("a,b,kind\n")
    with pytest.raises(DataError, match=r"empty\.csv holds a header but no rows"):
        import_table(tmp_path / "table.csv", others={"test": tmp_path / "empty.csv"})
