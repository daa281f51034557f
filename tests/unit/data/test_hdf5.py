"""HDF5 files of any layout, by the names of their data sets."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from disttrain.data.importers.hdf5 import import_hdf5
from disttrain.errors import DataError

ROWS = 30
X = np.random.default_rng(0).normal(size=(ROWS, 4))
Y = np.arange(ROWS) % 3
NAMES = np.array(["ant", "bee", "cow"])[Y]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


def read(path, inputs, targets, test=None, **more):
    named = {"train": (inputs, targets)} | ({"test": test} if test else {})
    return import_hdf5(path, named, **more)


def test_arrays_of_any_name_and_texts_as_classes(path):
    with h5py.File(path, "w") as f:
        f.create_dataset("deep/down/X", data=X.astype("f4"), chunks=(7, 4), compression="gzip")
        f["names"] = NAMES.tolist()
        f["fixed"] = NAMES.astype("S3")
        f["all"], f["held"], f["held_names"] = X, X[:3], ["cow", "ant", "cow"]
    for targets in ("names", "/fixed"):
        imported = read(path, "deep/down/X", targets)
        inputs, numbers = imported.splits["train"]
        np.testing.assert_array_equal(inputs, X.astype("f4"))
        np.testing.assert_array_equal(numbers, Y)
        assert imported.classes == ["ant", "bee", "cow"]
    imported = read(path, "all", "names", ("held", "held_names"))
    np.testing.assert_array_equal(imported.splits["test"][1], [2, 0, 2])


def test_columns_of_tables_as_pytables_and_pandas_write_them(path):
    table = np.empty(ROWS, [("index", "i8"), ("values_block_0", "f8", 4), ("y", "i8"),
                            ("kind", "S8"), ("a", "f4")])  # fmt: skip
    table["values_block_0"], table["y"], table["kind"], table["a"] = X, Y, NAMES, X[:, 0]
    with h5py.File(path, "w") as f:
        f.create_dataset("df/table", data=table, chunks=(8,), compression="gzip", shuffle=True)
    imported = read(path, "/df/table/values_block_0", "/df/table/kind")
    np.testing.assert_array_equal(imported.splits["train"][0], X)
    np.testing.assert_array_equal(imported.splits["train"][1], Y)
    assert imported.classes == ["ant", "bee", "cow"]
    inputs, targets = read(path, "df/table/a,df/table/index", "df/table/y").splits["train"]
    assert inputs.shape == (ROWS, 2)
    np.testing.assert_array_equal(inputs[:, 0], X[:, 0].astype("f4"))
    np.testing.assert_array_equal(targets, Y)
    for name in ("df/table", "df/table/b"):
        with pytest.raises(DataError, match=r"is a table\): name one of its columns: .*kind"):
            read(path, name, "df/table/y")


def test_files_of_matlab(path):
    with h5py.File(path, "w", userblock_size=512) as f:
        f["X"], f["y"], f["flags"] = X.T, Y[None, :] + 1.0, (X.T > 0).astype("u1")
        f["images"] = np.arange(ROWS * 6, dtype="u1").reshape(3, 2, ROWS)
    imported = read(path, "X", "y", transposed=True)
    np.testing.assert_array_equal(imported.splits["train"][0], X)
    np.testing.assert_array_equal(imported.splits["train"][1], Y)
    assert imported.classes == ["1", "2", "3"]
    assert any("--regression" in note for note in imported.notes)
    assert read(path, "X", "y", transposed=True, regression=True).classes is None
    flags, _ = read(path, "flags", "y", transposed=True).splits["train"]
    assert flags.dtype == np.float32  # no pixels, which training divides by 255
    images, _ = read(path, "images", "y", transposed=True).splits["train"]
    assert images.shape == (ROWS, 2, 3)
    assert images[4, 1, 2] == (2 * 2 + 1) * ROWS + 4
    with pytest.raises(DataError, match="has 4 rows, but y has 1: give --transposed"):
        read(path, "X", "y")


def test_whole_numbers_are_classes_and_others_quantities(path):
    with h5py.File(path, "w") as f:
        f["X"], f["codes"], f["real"], f["counted"] = X, Y * 10 + 7, X[:, :2], Y
        f["many"] = np.arange(ROWS, dtype=float)
    imported = read(path, "X", "codes")
    assert imported.classes == ["7", "17", "27"]
    np.testing.assert_array_equal(imported.splits["train"][1], Y)
    assert read(path, "X", "counted").classes is None
    np.testing.assert_array_equal(read(path, "X", "real").splits["train"][1], X[:, :2])
    assert read(path, "X", "many").splits["train"][1].shape == (ROWS, 1)


def test_mistakes_are_one_sentence(path, tmp_path):
    text = tmp_path / "text"
    text.write_text("hello")
    with h5py.File(path, "w") as f:
        f["X"], f["y"], f["names"] = X, Y, NAMES.tolist()
        f["short"] = Y[:4]
        f.create_dataset("objects", (ROWS,), dtype=h5py.vlen_dtype("u1"))
        f["link"] = h5py.ExternalLink("other.h5", "/X")
        f.create_dataset("far", (ROWS, 4), "f4", external=[(str(text), 0, ROWS * 16)])
    for names, words in (
        (("", ""), r"needs names, by .*: it holds .*/X \(30, 4\) float64"),
        (("X", "nothing"), "no data set 'nothing'"),
        (("X", "short"), "X has 30 rows, but short has 4"),
        (("X,short", "y"), "different numbers of rows: 30, 4"),
        (("names", "y"), "names have dtype"),
        (("X", "objects"), r"varying length.*format=.table"),
        (("link", "y"), "link to another file"),
        (("far", "y"), "keeps its values in other files"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            read(path, *names)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="not numbers"):
        read(path, "X", "names", regression=True)
    with pytest.raises(DataError, match="is no HDF5 file"):
        read(text, "X", "y")
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "none", "X", "y")
    with h5py.File(path, "a") as f:
        f["two"], f["two_names"] = X[:2], ["ant", "bee"]
    with pytest.raises(DataError, match="class 'cow'"):
        read(path, "two", "two_names", ("X", "names"))


def matlab_texts(file: h5py.File, name: str, texts: list[str]) -> None:
    """Write texts as cells of MATLAB are: references to arrays of characters."""
    kind = np.bytes_(b"char")
    cells = file.create_dataset(name, (1, len(texts)), h5py.ref_dtype)
    cells.attrs["MATLAB_class"] = np.bytes_(b"cell")
    for number, text in enumerate(texts):
        letters = np.frombuffer(text.encode("utf-16-le"), "<u2")[:, None]
        own = file.create_dataset(f"#refs#/{name}{number}", data=letters)
        own.attrs["MATLAB_class"] = kind
        cells[0, number] = own.ref


def test_texts_of_matlab_are_classes(path):
    with h5py.File(path, "w", userblock_size=512) as f:
        f["X"] = X.T
        matlab_texts(f, "species", [f"k{number} ö" for number in Y])
        letters = np.array([list(f"{text:5}") for text in NAMES]).view("u4").astype("u2")
        f["kinds"] = letters.reshape(ROWS, 5).T
        f["kinds"].attrs["MATLAB_class"] = np.bytes_(b"char")
        f["objects"] = np.array([f["X"].ref] * ROWS, h5py.ref_dtype)[None, :]
    for name, classes in (("species", ["k0 ö", "k1 ö", "k2 ö"]), ("kinds", ["ant", "bee", "cow"])):
        imported = read(path, "X", name, transposed=True)
        np.testing.assert_array_equal(imported.splits["train"][0], X)
        np.testing.assert_array_equal(imported.splits["train"][1], Y)
        assert imported.classes == classes
    with pytest.raises(DataError, match="something else than texts"):
        read(path, "X", "objects", transposed=True)
    with pytest.raises(DataError, match=r"it holds /X \(4, 30\) float64") as caught:
        read(path, "", "")
    assert "#refs#" not in str(caught.value)


def test_a_single_number_is_no_array(path):
    with h5py.File(path, "w") as file:
        file["X"], file["n"] = np.ones((4, 2)), 3.0
    with pytest.raises(DataError, match=r"n holds a single number.*name an array with a row per"):
        read(path, "X", "n")


def test_many_whole_numbers_are_classes_and_said_to_be(path):
    with h5py.File(path, "w") as f:
        f["x"], f["few"], f["many"] = X, Y, np.arange(ROWS)
    assert read(path, "x", "few").notes == ()
    (note,) = read(path, "x", "many").notes
    assert note.startswith(f"many holds {ROWS} different whole numbers")
    assert "--regression" in note


def test_quantities_have_one_type_in_all_splits(path):
    with h5py.File(path, "w") as f:
        f["x"], f["small"], f["large"] = X, Y, Y + 20180131
    splits = read(path, "x", "small", ("x", "large"), regression=True).splits
    assert {targets.dtype for _, targets in splits.values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(splits["test"][1][:, 0], Y + 20180131)
