import bz2
import gzip
import io
import lzma
import os
import re
import threading
import zipfile

import numpy as np
import pandas
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import open_dataset
from disttrain.data.cells import way_to_read
from disttrain.data.importers import dialect
from disttrain.data.importers import table as table_of
from disttrain.data.importers.holdout import hold_out
from disttrain.data.importers.tables import Options, import_table, read_table
from disttrain.data.preparation import Preparation
from disttrain.data.writer import write_data_file
from disttrain.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def train(path, **options):
    return import_table(path, Options(**options)).splits["train"]


def names(path, **options):
    return list(import_table(path, Options(**options)).preparation.classes)


def columns(path, **options):
    return [c.name for c in import_table(path, Options(**options)).preparation.columns]


def test_numbers_stay_numbers_and_pixels_are_asked_for(table):
    path = table("a,b,label\n0,255,1\n3,4,0\n")
    inputs, targets = train(path)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, [[0, 255], [3, 4]])
    np.testing.assert_array_equal(targets, [1, 0])
    assert targets.dtype == np.int64
    inputs, _ = train(path, pixels=True)
    assert inputs.dtype == np.uint8
    np.testing.assert_array_equal(inputs, [[0, 255], [3, 4]])
    for cell in ("256", "-1", "0.5", "x"):
        with pytest.raises(DataError, match="column 'b'"):
            train(table(f"a,b,label\n0,{cell},1\n3,4,0\n"), pixels=True)


@pytest.mark.parametrize("values", [range(20180130, 20180134), range(1511000000, 1511000004)])
def test_differences_that_float32_loses_are_kept(table, values):
    lines = "".join(f"{value},{value % 2}\n" for value in values)
    imported = import_table(table(f"time,parity\n{lines}"))
    inputs, targets = imported.splits["train"]
    assert inputs.dtype == np.float64
    np.testing.assert_array_equal(inputs[:, 0], list(values))
    np.testing.assert_array_equal(targets, [value % 2 for value in values])
    assert any("float64" in note and "'time'" in note for note in imported.notes)


def test_targets_keep_their_differences_too(table):
    lines = "".join(f"{i},{1e6 + i / 64}\n" for i in range(20))
    targets = train(table(f"a,y\n{lines}"))[1]
    assert targets.dtype == np.float64
    np.testing.assert_array_equal(targets[:, 0], 1e6 + np.arange(20) / 64)


@pytest.mark.parametrize("name", ["label", "Target", "CLASS", "y"])
def test_the_target_is_known_by_its_name(table, name):
    path = table(f"a,{name},b\n1,5,2\n3,6,4\n")
    assert names(path) == ["5", "6"]
    np.testing.assert_array_equal(train(path)[1], [0, 1])


def test_else_the_target_is_the_last_column(table):
    for text in ("a,b,c\n1,2,3\n4,5,6\n", "1,2,3\n4,5,6\n"):
        assert names(table(text)) == ["3", "6"]
        np.testing.assert_array_equal(train(table(text))[0], [[1, 2], [4, 5]])


def test_y_beside_x_is_a_coordinate_where_the_last_column_is_text(table):
    path = table("x,y,kind\n1,2,oak\n3,4,elm\n")
    assert import_table(path).preparation.targets == ("kind",)
    assert columns(path) == ["x", "y"]
    assert import_table(table("x,y,z\n1,2.5,3\n3,4,4\n")).preparation.targets == ("y",)
    assert import_table(table("x,y\n1,2.5\n3,4\n")).preparation.targets == ("y",)


def test_a_header_is_not_taken_for_data_nor_data_for_a_header(table):
    imported = import_table(table("5.1,3.5,setosa\n6,3,virginica\n"))
    assert len(imported.splits["train"][0]) == 2
    assert imported.classes == ["setosa", "virginica"]
    assert len(train(table("0,1,label\n5,6,1\n7,8,0\n"))[0]) == 2
    assert len(train(table("0,1,species\n5,6,1\n7,8,0\n"), target="species")[0]) == 2
    assert len(train(table("colour,size,kind\nred,big,a\nblue,big,b\n"))[0]) == 2
    assert len(train(table("red,big,a\nblue,big,b\nred,small,a\n"))[0]) == 3
    assert len(train(table("12,0,A\n3,4,5\n7,8,A\n"))[0]) == 3


@pytest.mark.parametrize(
    ("first", "want"),
    [
        ("0,1,2,3", ["0", "1", "2"]),
        (",0,1,2,3", ["0", "1", "2"]),
        ("0,1,2,label", ["0", "1", "2"]),
        ("who,1999,2000,2001,2002", ["who", "1999", "2000", "2001"]),
    ],
)
def test_names_of_columns_may_count_on(table, first, want):
    row = {"0": "{a},5,6,7", ",": "{n},{a},5,6,7", "w": "{t},{a},5,6,7"}[first[0]]
    rows = [row.format(n=n, a=n % 2 + 5.5, t="ab"[n % 2]) for n in range(4)]
    if first.endswith("label"):
        rows = [line[:-1] + "xy"[n % 2] for n, line in enumerate(rows)]
    else:
        rows = [line[:-1] + "78"[n % 2] for n, line in enumerate(rows)]
    path = table("\n".join([first, *rows]))
    assert columns(path) == want
    assert len(train(path)[0]) == 4


def test_a_text_of_its_own_in_every_row_is_neither_class_nor_input(table):
    path = table("a,when\n" + "".join(f"{i},day {i}\n" for i in range(20)))
    with pytest.raises(DataError, match=r"another text in every row.*--target"):
        train(path)
    with pytest.raises(DataError, match="20 different ones: leave the column out"):
        train(path, target="a")


def test_columns_without_a_header_are_called_by_number(table):
    imported = import_table(table("b,1,2\na,3,4\nb,5,6\n"), Options(target="1"))
    np.testing.assert_array_equal(imported.splits["train"][1], [1, 0, 1])
    np.testing.assert_array_equal(imported.splits["train"][0], [[1, 2], [3, 4], [5, 6]])
    assert imported.classes == ["a", "b"]


def test_several_targets_are_a_regression(table):
    inputs, targets = train(table("a,b,c\n1,2,3\n4,5,6\n"), target="c,a")
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, [[3, 1], [6, 4]])
    np.testing.assert_array_equal(inputs, [[2], [5]])


@pytest.mark.parametrize(
    ("cells", "regression"), [("0.5,1", False), ("1,10000", False), ("0,1", True), ("-1,1", True)]
)
def test_quantities_are_a_regression(table, cells, regression):
    first, second = cells.split(",")
    _, targets = train(table(f"a,y\n1,{first}\n2,{second}\n"), regression=regression)
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, np.float32([[first], [second]]))


@pytest.mark.parametrize(
    ("codes", "want"),
    [
        ((1, 2, 3), ["1", "2", "3"]),
        ((10001, 10002), ["10001", "10002"]),
        ((-1, 1), ["-1", "1"]),
        ((1.0, 2.0), ["1", "2"]),
        ((2, 10), ["2", "10"]),
        (("A", "0", "9", "a"), ["0", "9", "A", "a"]),
        (("True", "False"), ["False", "True"]),
    ],
)
def test_class_codes_of_any_kind_train_as_many_classes(table, codes, want):
    lines = "".join(f"{i},{codes[i % len(codes)]}\n" for i in range(60))
    path = table(f"a,label\n{lines}")
    assert names(path) == want
    assert import_table(path).classes == want
    targets = train(path)[1]
    assert targets.min() == 0
    assert targets.max() == len(want) - 1
    assert want[targets[0]] == str(codes[0]).removesuffix(".0")


@pytest.mark.parametrize(("years", "classes"), [(30, 0), (5, 5)])
def test_a_last_column_of_years_is_a_quantity_unless_there_are_few(table, years, classes):
    rows = "".join(f"{n},{1990 + n % years}\n" for n in range(40 * years))
    imported = import_table(table("a,year\n" + rows))
    targets = imported.splits["train"][1]
    assert len(imported.classes or ()) == classes
    assert (targets.dtype.kind == "f") == (classes == 0)
    if not classes:
        assert f"the target has {years} different years: a regression" in imported.notes


def test_whole_numbers_of_which_each_is_rare_are_a_regression_and_that_is_said(table):
    lines = "".join(f"{i},{i * 3}\n" for i in range(200))
    imported = import_table(table(f"a,label\n{lines}"))
    assert imported.splits["train"][1].dtype == np.float32
    assert "the target has 200 different numbers: a regression" in imported.notes


def test_classes_are_called_by_number_where_they_count_from_0(table):
    imported = import_table(table("a,label\n" + "".join(f"{i},{i % 3}\n" for i in range(30))))
    assert imported.classes is None
    assert imported.preparation.classes == ("0", "1", "2")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_quotes_byte_order_mark_and_blank_lines(table, separator):
    text = "\ufeff" + 'a,b,label\r\n"1",2,x\r\n\r\n3,4,"y ""z"""\r\n'.replace(",", separator)
    imported = import_table(table(text))
    np.testing.assert_array_equal(imported.splits["train"][0], [[1, 2], [3, 4]])
    assert imported.classes == ["x", 'y "z"']


def test_a_quoted_header_may_hold_separators(table):
    text = '"size, in; cm; or m","weight, in; kg; or g","label"\n1,2,a\n3,4,b\n'
    assert columns(table(text)) == ["size, in; cm; or m", "weight, in; kg; or g"]


def test_a_blank_may_follow_the_comma(table):
    imported = import_table(table('a, b, label\n1, 2, "x, y"\n3, 4 , "z"\n'))
    assert columns(table('a, b, label\n1, 2, "x, y"\n3, 4 , "z"\n')) == ["a", "b"]
    np.testing.assert_array_equal(imported.splits["train"][0], [[1, 2], [3, 4]])
    assert imported.classes == ["x, y", "z"]


@pytest.mark.parametrize(
    "text",
    [
        "a b label\n1 2 x\n3   4 y\n",
        "a\tb  label\n1 \t2 x\n  3 4 y\n",
        "1 2 x\n3 4 y\n",
        "sep=;\na;b;label\n1;2;x\n3;4;y\n",
        "sep=|\r\na|b|label\r\n1|2|x\r\n3|4|y\r\n",
        '"","a","b","label"\n"1",1,2,"x"\n"2",3,4,"y"\n',
        '"a","b","label"\n"1",1,2,"x"\n"2",3,4,"y"\n',
        ",a,b,label\n0,1,2,x\n1,3,4,y\n",
        "Unnamed: 0,a,b,label\n0,1,2,x\n1,3,4,y\n",
        "a,b,label,\n1,2,x,\n3,4,y,\n",
        '"a" "b c" "label"\n"row 1" 1 2 "x"\n"row 2" 3 4 "y"\n',
    ],
)
def test_the_ways_in_which_programs_write_tables(table, text):
    options = {"target": "label"} if "label" in text else {}
    options |= {"columns": "a,b c"} if "b c" in text else {}
    inputs, targets = train(table(text), **options)
    np.testing.assert_array_equal(inputs, [[1, 2], [3, 4]])
    assert targets.tolist() == [0, 1]
    assert names(table(text), **options) == ["x", "y"]


def test_an_index_column_is_left_out_and_a_nameless_one_that_counts_nothing_is_not(table):
    imported = import_table(table(",a,label\n0,5,x\n1,6,y\n"))
    assert [c.name for c in imported.preparation.columns] == ["a"]
    assert "left out the first column, '', which names or numbers the rows" in imported.notes
    assert columns(table("rownames,a,label\n1,5,x\n2,6,y\n")) == ["a"]
    assert columns(table("id,a,label\nanna,5,x\nbert,6,y\n")) == ["a"]
    # Rows in another order, as where some of a table were taken for testing.
    assert columns(table("ID,a,label\n8,5,x\n2,6,y\n")) == ["a"]
    assert columns(table(",a,label\n7,5,x\n3,6,y\n")) == ["a"]
    for cells in ((7, 7), (1.5, 3), (-1, 3), ("", 3)):
        text = "\n".join(f"{cell},5,{kind}" for cell, kind in zip(cells, "xy", strict=True))
        assert columns(table(f"nr,a,label\n{text}\n"), missing="mean") == ["nr", "a"], cells


def test_the_index_of_pandas_in_a_parquet_file_is_no_input_and_no_target(tmp_path):
    frame = pandas.DataFrame({"a": [1.5, 2.5, 3.5], "b": [4, 5, 6], "kind": list("xyx")})
    path = tmp_path / "t.parquet"
    for index in (frame.index[::-1], pandas.Index([7, 3, 9], name="id")):
        frame.set_index(index).to_parquet(path)
        imported = import_table(path)
        assert [c.name for c in imported.preparation.columns] == ["a", "b"]
        assert imported.preparation.targets == ("kind",)
        inputs, targets = imported.splits["train"]
        np.testing.assert_array_equal(inputs, [[1.5, 4], [2.5, 5], [3.5, 6]])
        np.testing.assert_array_equal(targets, [0, 1, 0])


def test_utf_16_as_excel_writes_it(table):
    imported = import_table(table("größe\tlabel\n1,5\tä\n2,5\tö\n".encode("utf-16")),
                            Options(decimal=","))  # fmt: skip
    assert [c.name for c in imported.preparation.columns] == ["größe"]
    np.testing.assert_array_equal(imported.splits["train"][0], [[1.5], [2.5]])
    assert imported.classes == ["ä", "ö"]


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/table.csv", content)
    return buffer.getvalue()


PLAIN = b"a,b,label\n" + b"1,2,x\n3,4,y\n" * 30


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zipped])
def test_compressed_tables(table, pack):
    inputs, _ = train(table(pack(PLAIN), "anything"))
    np.testing.assert_array_equal(inputs, [[1, 2], [3, 4]] * 30)


def test_a_zip_file_of_several_names_them(table):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("one.csv", PLAIN)
        archive.writestr("two.csv", PLAIN)
    with pytest.raises(DataError, match=r"holds 2 files \(one.csv, two.csv\)"):
        train(table(buffer.getvalue()))


def test_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(PLAIN,))
    writer.start()
    inputs, _ = train(path)
    writer.join()
    assert len(inputs) == 60
    writer = threading.Thread(target=path.write_bytes, args=(PLAIN + b"1,z,x\n",))
    writer.start()
    with pytest.raises(DataError, match=f"^{path}, line 62, column 'b': 'z' is not a number"):
        train(path)
    writer.join()


def test_decimal_commas(table):
    path = table("a;b;y\n1,5;2;0,25\n3;4,5;0,75\n")
    inputs, targets = train(path, decimal=",")
    np.testing.assert_array_equal(inputs, [[1.5, 2], [3, 4.5]])
    np.testing.assert_array_equal(targets, [[0.25], [0.75]])
    with pytest.raises(DataError, match=r"'1,5' is not a number.*--decimal ,"):
        train(path)


def test_truth_values_are_numbers(table):
    text = "a,b,label\nTrue,1,x\nFalse,2,y\n,3,x\n"
    inputs, _ = train(table(text.replace("\n,3", "\nTRUE,3")))
    np.testing.assert_array_equal(inputs, [[1, 1], [0, 2], [1, 3]])
    inputs, _ = train(table(text), missing="drop")
    np.testing.assert_array_equal(inputs, [[1, 1], [0, 2]])


def test_text_of_few_values_becomes_inputs_and_that_is_said(table):
    imported = import_table(table("a,c,label\n1,red,x\n2,blue,y\n3,red,x\n"))
    np.testing.assert_array_equal(imported.splits["train"][0], [[1, 0, 1], [2, 1, 0], [3, 0, 1]])
    assert "column 'c' gives 2 inputs, one each for blue, red" in imported.notes


def test_text_of_many_values_must_be_left_out(table):
    path = table("a,name,label\n" + "".join(f"{i},n{i},{i % 2}\n" for i in range(60)))
    with pytest.raises(DataError, match=r"60 different ones.*--drop 'name' or .*one-hot"):
        train(path)
    assert train(path, one_hot=True)[0].shape == (60, 61)
    assert columns(path, drop="name") == ["a"]
    assert columns(path, columns="a") == ["a"]
    with pytest.raises(UsageError, match="names the target 'label'"):
        train(path, columns="a,label")
    with pytest.raises(DataError, match="no column 'z'"):
        train(path, drop="z")
    with pytest.raises(DataError, match="no column but the target"):
        train(path, drop="a,name")


def test_text_among_numbers_is_a_mistake_unless_it_is_said_to_be_a_category(table, monkeypatch):
    monkeypatch.setattr(table_of, "BLOCK_CELLS", 3)
    rows = "".join(f"{i % 3},{i},{i % 2}\n" for i in range(100))
    path = table(f"c,a,label\n{rows}x,5,1\n")
    with pytest.raises(DataError, match="line 102, column 'c': 'x' is not a number, but others"):
        train(path)
    inputs, _ = train(path, one_hot=True)
    assert inputs[:, :4].sum(axis=0).tolist() == [34, 33, 33, 1]
    assert np.isnan(inputs).sum() == 0
    assert train(path, na=("x",), missing="drop")[0].shape == (100, 2)


def test_codes_of_numbers_and_letters_are_categories(table):
    rows = "".join(f"{i},{'4fr'[i % 3]},{'ab'[i % 2]}\n" for i in range(30))
    imported = import_table(table(f"a,drive,label\n{rows}"))
    np.testing.assert_array_equal(imported.splits["train"][0][:3, 1:], np.eye(3))
    assert "column 'drive' gives 3 inputs, one each for 4, f, r" in imported.notes


GAPS = "a,b,c,label\n1,10,u,x\n,20,,y\n4,NA,u,x\n100,30,v,y\n"


@pytest.mark.parametrize(
    ("missing", "want"),
    [
        ("mean", [[1, 10, 0, 1, 0], [35, 20, 1, 0, 0], [4, 20, 0, 1, 0], [100, 30, 0, 0, 1]]),
        ("median", [[1, 10, 0, 1, 0], [4, 20, 1, 0, 0], [4, 20, 0, 1, 0], [100, 30, 0, 0, 1]]),
        ("drop", [[1, 10, 1, 0], [100, 30, 0, 1]]),
        (
            "indicator",
            [[1, 0, 10, 0, 0, 1, 0], [35, 1, 20, 0, 1, 0, 0], [4, 0, 20, 1, 0, 1, 0],
             [100, 0, 30, 0, 0, 0, 1]],
        ),
    ],
)  # fmt: skip
def test_missing_cells_are_filled_as_asked(table, missing, want):
    imported = import_table(table(GAPS), Options(missing=missing))
    inputs = np.array(imported.splits["train"][0])
    if missing != "drop":  # "(missing)" is the last category
        width = inputs.shape[1]
        inputs = inputs[:, [*range(width - 3), width - 1, width - 3, width - 2]]
    np.testing.assert_array_equal(inputs, want)
    if missing == "drop":
        assert any("2 of 4 rows with gaps were left out" in note for note in imported.notes)


def test_na_is_missing_among_inputs_and_a_name_among_classes(table):
    path = table("a,c,label\n1,red,NA\n2,NA,EU\n3,blue,NA\n4,red,EU\n")
    imported = import_table(path, Options(missing="mean"))
    assert imported.preparation.columns[1].categories == ("blue", "red", "(missing)")
    np.testing.assert_array_equal(imported.splits["train"][0][1], [2, 0, 0, 1])
    assert imported.classes == ["EU", "NA"]
    assert train(path, missing="drop")[1].tolist() == [1, 1, 0]


def test_missing_cells_are_never_filled_silently(table):
    with pytest.raises(
        DataError, match=r"line 3, column 'a': the cell is empty, as 1 of 4.*--miss"
    ):
        train(table(GAPS))
    with pytest.raises(DataError, match="line 3, column 'label': the cell is empty"):
        train(table("a,label\n1,x\n2,\n3,y\n"))
    for missing in ("drop", "mean"):  # a target is never made up
        imported = import_table(table("a,label\n1,x\n2,\n3,y\n"), Options(missing=missing))
        assert imported.splits["train"][0].tolist() == [[1], [3]]
        assert any("1 of 3 rows with gaps were left out" in note for note in imported.notes)


def test_columns_without_any_cell_are_left_out_and_that_is_said(table):
    imported = import_table(table("a,b,label\n1,,x\n2,,y\n"))
    assert imported.splits["train"][0].tolist() == [[1], [2]]
    assert "left out columns without any cell: 'b'" in imported.notes


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,label\n", "holds a header but no rows"),
        ("a,b,label\n1,2,0\n\n1,2\n", "line 4: 2 cells, but the table has 3 columns"),
        ("a,b,label\n1,2,0\n1,2,3,4\n", "line 3: 4 cells, but the table has 3 columns"),
        ("1,2,0,\n1,2,3,4,5\n", "line 2: 5 cells, but the table has 4 columns"),
        ("a,b,label\n1,2,0\n1,x,0\n", "line 3, column 'b': 'x' is not a number"),
        ("1,2,0\n1,,0\n", "line 2, column '2': the cell is empty"),
        ("a,b,label\n1,nan,0\n2,1,1\n", "line 2, column 'b': the cell is empty"),
        ("a,b,label\n1,1,0\n-inf,2,1\n", "line 3, column 'a': -inf is not a finite number"),
        ("a,b,label\n1,2,0\n1,2,\n", "line 3, column 'label': the cell is empty"),
        ("a,b,label\n1,2,inf\n1,2,1\n", "line 2, column 'label': inf is not a finite number"),
        ("label\n1\n2\n", "has no column but the target"),
        ("a,a,label\n1,2,3\n", "several columns 'a'"),
        ('a,label\n1,"x\n2,y\n', "line 2: a cell begins with a quote that is never closed"),
        ('a,label\n1,x\n2,y\n3,"x\n4,y\n', "line 4: a cell begins with a quote that"),
        ("a,label\n1,x\n2,x\n", "all training rows are of one class"),
        (b"a,label\n1,x\n2,caf" + b"\xe9\n", "is not text in UTF-8"),
        (b"\0\0\x08\x01", "is not a table of text"),
        (gzip.compress(b"a,label\n" + b"1,2\n" * 100, mtime=0)[:-9], "is a truncated packed file"),
        (bz2.compress(b"a,label\n" + b"1,2\n" * 100)[:-9], "is a truncated packed file"),
        (lzma.compress(b"a,label\n" + b"1,2\n" * 100)[:-9], "packed file"),
        (zipped(PLAIN)[:-9], "is a damaged packed file"),
    ],
)
def test_a_bad_table_is_named_with_line_and_cause(table, text, cause):
    path = table(text)
    with pytest.raises(DataError) as caught:
        import_table(path)
    assert str(path) in str(caught.value)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_target_that_is_not_there_lists_the_columns(table):
    with pytest.raises(DataError, match=r"no column 'z': the columns are a, b, label$"):
        train(table("a,b,label\n1,2,3\n"), target="z")
    with pytest.raises(DataError, match="names a column twice"):
        train(table("a,b,label\n1,2,3\n"), target="a,a")


def test_blocks_are_joined_and_lines_are_counted_over_them(table, monkeypatch):
    monkeypatch.setattr(table_of, "BLOCK_CELLS", 3)
    rows = "".join(f"{i},{i * 0.5},{'abc'[i % 3]}\n" for i in range(500))
    inputs, targets = train(table(f"a,b,label\n{rows}"))
    np.testing.assert_array_equal(inputs, np.arange(500)[:, None] * [1, 0.5])
    np.testing.assert_array_equal(targets, np.arange(500) % 3)
    with pytest.raises(DataError, match="line 502, column 'b': the cell is empty"):
        train(table(f"a,b,label\n{rows}1,,c\n"))
    with pytest.raises(DataError, match="line 502: 2 cells"):
        train(table(f"a,b,label\n{rows}1,c\n"))


LEARNED = "a,c,b,label\n1,red,5,ant\n2,blue,6,bee\n3,red,7,cow\n"


def test_other_tables_go_through_what_the_training_table_taught(table):
    path = table(LEARNED)
    other = table("label,b,more,a,c\ncow,8,x,9,blue\nbee,1,y,2,red\nbee,3,z,4,red\n", "test.csv")
    splits = import_table(path, others={"test": other}).splits
    inputs, targets = splits["test"]
    np.testing.assert_array_equal(inputs, [[9, 1, 0, 8], [2, 0, 1, 1], [4, 0, 1, 3]])
    assert targets.tolist() == [2, 1, 1]
    assert inputs.dtype == splits["train"][0].dtype


def test_a_table_prepared_apart_has_the_same_classes_and_keeps_its_order(table):
    made = import_table(table(LEARNED)).preparation
    made = Preparation.from_json(made.to_json())
    path = table("a,c,b,label\n9,blue,8,cow\n2,red,1,bee\n", "test.csv")
    imported = import_table(path, like=made)
    assert list(imported.splits) == ["test"]
    assert imported.classes == ["ant", "bee", "cow"]
    assert imported.splits["test"][1].tolist() == [2, 1]
    inputs, targets = read_table(table("b,a,c\n8,9,blue\n", "new.csv"), made, labelled=False)
    np.testing.assert_array_equal(inputs, [[9, 1, 0, 8]])
    assert targets.shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a,c,b,label\n1,red,5,dog\n", "line 2, column 'label': 'dog' is not a class of the train"),
        (
            "a,c,b,label\n1,green,5,ant\n",
            "line 2, column 'c': 'green' is not a category of the tr",
        ),
        ("a,c,label\n1,red,ant\n", "has no column 'b', which the training table has"),
        ("a,c,b\n1,red,5\n", "has no column 'label'"),
        ("a,c,b,label\n1,red,x,ant\n", "line 2, column 'b': 'x' is not a number"),
        ("a,c,b,label\n1,red,,ant\n", "line 2, column 'b': the cell is empty"),
        ("a,c,b,label\n1,,5,ant\n", "line 2, column 'c': the cell is empty"),
        ("a,c,b,label\n1,red,1e39,ant\n", "line 2, column 'b': 1e+39 is not a number of 4 bytes"),
    ],
)
def test_what_the_training_table_does_not_know_is_refused(table, text, cause):
    made = import_table(table(LEARNED)).preparation
    with pytest.raises(DataError, match=r"test.csv") as caught:
        read_table(table(text, "test.csv"), made)
    assert cause in str(caught.value)


def test_gaps_of_another_table_are_filled_with_what_was_learned(table):
    made = import_table(table(GAPS), Options(missing="indicator")).preparation
    inputs, _ = read_table(table("a,b,c\n,,\n1,2,u\n", "test.csv"), made, labelled=False)
    np.testing.assert_array_equal(inputs, [[35, 1, 20, 1, 0, 0, 1], [1, 0, 2, 0, 1, 0, 0]])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "{" * 100_000, "null"])
def test_a_damaged_preparation_is_one_sentence(text):
    with pytest.raises(DataError, match="is damaged"):
        Preparation.from_json(text)


def test_parquet_says_the_same_as_text(table, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.read_csv(table(LEARNED))
    frame["yes"] = [True, False, True]
    frame["kind"] = frame["c"].astype("category")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, other = (import_table(tmp_path / name) for name in ("t.parquet", "t.csv"))
    for mine, yours in zip(one.splits["train"], other.splits["train"], strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert one.preparation == other.preparation
    frame.loc[1, "a"] = None
    frame.to_parquet(tmp_path / "gap.parquet")
    with pytest.raises(DataError, match=r"gap.parquet, row 1, column 'a': the cell is empty"):
        import_table(tmp_path / "gap.parquet")


def test_parquet_that_is_damaged_or_holds_lists_is_one_sentence(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / "t.parquet"
    pandas.DataFrame({"a": [[1, 2], [3]], "label": ["x", "y"]}).to_parquet(path)
    with pytest.raises(DataError, match="columns of lists"):
        import_table(path)
    pandas.DataFrame({"a": range(1000), "label": ["x", "y"] * 500}).to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is a damaged Parquet file"):
        import_table(path)


def test_a_first_line_without_end_is_no_table(table, monkeypatch):
    monkeypatch.setattr(dialect, "HEAD_BYTES", 1000)
    with pytest.raises(DataError, match="has no line end"):
        import_table(table(b"1," * 5000))


def test_a_line_without_end_further_down_is_refused_before_it_fills_the_memory(table, monkeypatch):
    monkeypatch.setattr(table_of, "HEAD_BYTES", 100_000)
    with pytest.raises(DataError, match="has a line of over"):
        train(table(PLAIN + b"," * 1_000_000))


def _many(table, rows=200):
    lines = [
        f"{row % 256},{row // 256},{'rare' if row % 10 == 0 else 'often'}" for row in range(rows)
    ]
    return import_table(table("a,b,label\n" + "\n".join(lines)))


def test_test_rows_are_taken_from_every_class_and_depend_on_the_seed_alone(table):
    imported = _many(table)
    split = hold_out(imported, 0.25, seed=3)
    assert np.bincount(split.splits["test"][1]).tolist() == [45, 5]
    rows = np.concatenate([split.splits[name][0] for name in ("train", "test")])
    assert sorted(rows[:, 0].tolist()) == list(range(200))
    again = hold_out(imported, 0.25, seed=3).splits["test"][0]
    np.testing.assert_array_equal(split.splits["test"][0], again)
    assert not np.array_equal(again, hold_out(imported, 0.25, seed=4).splits["test"][0])
    assert hold_out(imported, 0, seed=3) is imported
    assert split.preparation is imported.preparation


def test_the_last_row_of_a_class_stays_in_training(table):
    imported = import_table(table("a,label\n" + "".join(f"{i},c{i // 2}\n" for i in range(20))))
    assert any(note.startswith("classes with few rows: c0 (2), c1 (2)") for note in imported.notes)
    split = hold_out(imported, 0.9, seed=0)
    assert np.bincount(split.splits["train"][1]).tolist() == [1] * 10


def test_a_regression_can_be_held_out_and_bad_fractions_are_refused(table):
    imported = import_table(table("a,y\n" + "".join(f"{i},{i / 3}\n" for i in range(10))))
    split = hold_out(imported, 0.3, seed=0)
    assert len(split.splits["test"][0]) == 3
    with pytest.raises(DataError, match="leaves none to test on"):
        hold_out(imported, 0.01, seed=0)
    with pytest.raises(UsageError, match="test rows already"):
        hold_out(split, 0.3, seed=0)
    with pytest.raises(UsageError, match="below 1"):
        hold_out(imported, 1.0, seed=0)


WEIGHED = "a,w,label\n" + "".join(f"{n},{n % 4 + 0.5},{'xy'[n % 2]}\n" for n in range(40))


def test_a_column_of_weights_is_no_input_and_stays_with_its_rows(table, tmp_path):
    imported = import_table(table(WEIGHED), Options(weights="w"))
    assert [column.name for column in imported.preparation.columns] == ["a"]
    held = hold_out(imported, 0.25, seed=1)
    write_data_file(
        tmp_path / "data.h5", held.splits, held.classes, weights=held.weights,
        preparation=held.preparation,
    )  # fmt: skip
    dataset = open_dataset(
        Data(path=str(tmp_path / "data.h5"), validation_fraction=0.2), 1, Alone()
    )
    counts = {name: split.count for name, split in dataset.splits.items()}
    assert counts == {"train": 24, "validation": 6, "test": 10}
    for split in dataset.splits.values():
        stored, places = split.rows.locate(np.arange(split.count))
        assert split.weights.dtype == np.float32
        np.testing.assert_array_equal(split.weights, stored[places][:, 0] % 4 + 0.5)
    assert dataset.file.preparation.weights == "w"


def test_other_tables_have_weights_by_the_columns_name_or_weights_of_1(table):
    path, plain = table(WEIGHED), table("label,a\nx,1\ny,2\n", "plain.csv")
    imported = import_table(path, Options(weights="w"), others={"test": plain, "validation": path})
    np.testing.assert_array_equal(imported.weights["test"], [1, 1])
    np.testing.assert_array_equal(imported.weights["validation"], imported.weights["train"])
    assert any("plain.csv has no column 'w'" in note for note in imported.notes)
    assert import_table(path).weights == {}


@pytest.mark.parametrize("cell", ["-1", "", "inf", "nan", "x", "1e39"])
def test_what_is_no_weight_is_named_with_its_line(table, cell):
    text = WEIGHED.replace("\n3,3.5,", f"\n3,{cell},")
    with pytest.raises(DataError, match="line 5, column 'w'"):
        import_table(table(text), Options(weights="w"))


def test_weights_are_one_column_that_is_not_the_target_and_not_all_0(table):
    for words in ("label", "a,w"):
        with pytest.raises(UsageError, match="--weights"):
            import_table(table(WEIGHED), Options(weights=words))
    with pytest.raises(DataError, match="all weights are 0"):
        import_table(table("a,w,label\n1,0,x\n2,0,y\n"), Options(weights="w"))


def test_na_among_numbers_of_the_target_is_no_class(table):
    rows = [f"{n},{n % 3 if n % 5 else 'NA'}" for n in range(60)]
    path = table("a,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="line 2, column 'label': the cell is empty"):
        import_table(path)
    imported = import_table(path, Options(missing="drop"))
    assert imported.preparation.classes == ("0", "1", "2")
    inputs, targets = imported.splits["train"]
    np.testing.assert_array_equal(targets, inputs[:, 0] % 3)
    assert len(targets) == 48
    quantities = [f"{n},{n + 0.5 if n % 5 else 'NA'}" for n in range(60)]
    imported = import_table(table("a,b\n" + "\n".join(quantities)), Options(missing="drop"))
    assert imported.preparation.classes == ()
    assert len(imported.splits["train"][1]) == 48


def test_na_among_names_of_classes_is_one_and_that_is_said(table):
    imported = import_table(table("a,label\n1,NA\n2,DE\n3,NA\n4,DE\n"))
    assert imported.preparation.classes == ("DE", "NA")
    assert any("'NA' is a class" in note and "--na NA" in note for note in imported.notes)


def test_thousands_are_no_decimals(table):
    with pytest.raises(DataError, match="without commas if these are for thousands"):
        import_table(table('a,label\n"23,288",x\n5,y\n'))
    with pytest.raises(DataError, match=r"line 3, column 'a': '1.234' is not a number"):
        import_table(table("a;label\n1,5;x\n1.234;y\n2,5;x\n"), Options(decimal=","))


def test_blanks_between_numbers_and_one_tab_before_a_name(table):
    text = '18.0   8   307.0\t"chevrolet chevelle"\n15.0   8   ?\t"buick skylark"\n'
    imported = import_table(table(text), Options(target="1", drop="4", missing="mean", na=("?",)))
    np.testing.assert_array_equal(imported.splits["train"][0], [[8, 307], [8, 307]])
    names = import_table(table("kind\tlength\nIris setosa\t5.1\nIris virginica\t6.1\n"))
    assert names.preparation.targets == ("length",)


@pytest.mark.parametrize("text", ['{"a": [1, 2]}\n', '[{"a": 1}, {"a": 2}]\n', "[[1,2],[3,4]]\n"])
def test_json_is_said_to_be_json(table, text):
    with pytest.raises(DataError, match="is JSON"):
        import_table(table(text))


def test_a_workbook_is_said_to_be_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(DataError, match=r"workbook of Excel.*as CSV"):
        import_table(tmp_path / "a.xlsx")


def test_classes_with_a_decimal_comma_are_the_numbers_that_they_say(table):
    path = table("a;kind\n1,5;1,0\n2,5;2,0\n0,5;1,0\n")
    imported = import_table(path, Options(decimal=","))
    assert imported.preparation.classes == ("1", "2")
    np.testing.assert_array_equal(imported.splits["train"][1], [0, 1, 0])
    other = table("kind;a\n2;1,5\n1,0;0,5\n", "other.csv")
    np.testing.assert_array_equal(read_table(other, imported.preparation)[1], [1, 0])


@pytest.mark.parametrize("sign", [".", "?", "-", "*"])
def test_a_sign_among_numbers_says_that_a_value_is_missing_and_is_no_code(table, sign):
    rows = "".join(f"{sign if n % 3 else n % 2},{n},{n % 2}\n" for n in range(60))
    path = table("a,b,label\n" + rows)
    with pytest.raises(DataError, match="'a'.*" + re.escape(f"'{sign}' is not a number")):
        import_table(path)
    inputs, _ = train(path, na=(sign,), missing="mean")
    assert inputs.shape == (60, 2)


def test_a_text_among_quantities_of_the_target_is_a_mistake(table):
    numbers = [f"{n % 7 + 0.5},{n}" for n in range(40)]
    for odd in ("unknown", "?"):
        text = "target,a\n" + "\n".join([*numbers, f"{odd},1", f"{odd},2"])
        with pytest.raises(DataError, match=re.escape(f"numbers and '{odd}'")):
            import_table(table(text))
        path = table(text)
        assert not import_table(path, Options(na=(odd,), missing="drop")).preparation.classes
    whole = "target,a\n" + "".join(f"{'?' if n == 5 else n % 3},{n}\n" for n in range(30))
    with pytest.raises(DataError, match="holds numbers and '\\?'"):
        import_table(table(whole))
    assert names(table(whole), na=("?",), missing="drop") == ["0", "1", "2"]
    signs = import_table(table("a,label\n" + "".join(f"{n},{'+-'[n % 2]}\n" for n in range(30))))
    assert (signs.preparation.classes, signs.notes) == (("+", "-"), ())
    digits = "label,a\n" + "".join(f"{'09AZ?'[n % 5]},{n}\n" for n in range(60))
    assert names(table(digits)) == ["0", "9", "?", "A", "Z"]


def test_whole_numbers_of_the_target_that_are_many_or_hardly_come_again(table):
    many = import_table(table("a,n\n" + "".join(f"{n % 5},{n % 12}\n" for n in range(120))))
    assert len(many.preparation.classes) == 12
    assert any("12 different whole numbers" in n and "--regression" in n for n in many.notes)
    weights = [1257, 1261, 1350, 1575, 1885, 1890, 1257]
    few = import_table(table("a,grams\n" + "".join(f"{n},{w}\n" for n, w in enumerate(weights))))
    assert not few.preparation.classes
    assert any("a regression" in note for note in few.notes)
    assert names(table("a,kind\n1,1\n2,2\n3,3\n4,1\n")) == ["1", "2", "3"]


@pytest.mark.parametrize(
    "codes", [(-1, 1), (-1, -1, -1, 1), (10001, 10001, 10002, 10002), (-7, 3) * 9]
)
def test_two_whole_numbers_are_classes_also_in_a_few_rows(table, codes):
    path = table("a,b,y\n" + "".join(f"{n % 2},{n // 2},{code}\n" for n, code in enumerate(codes)))
    assert names(path) == [str(code) for code in sorted(set(codes))]


@pytest.mark.parametrize(("different", "each", "classes"), [(100, 5, 1), (101, 9, 0), (101, 10, 1)])
def test_over_100_whole_numbers_are_classes_where_ten_rows_have_each(
    table, different, each, classes
):
    lines = "".join(f"{n},{7 * (n % different)}\n" for n in range(different * each))
    imported = import_table(table(f"a,n\n{lines}"))
    assert len(imported.preparation.classes) == classes * different
    (note,) = (note for note in imported.notes if str(different) in note)
    assert ("--regression" if classes else "a regression") in note


def test_codes_with_an_underscore_are_text(table):
    rows = "".join(f"{n % 3}_{n % 2},{('1_0', '10', '2_1')[n % 3]}\n" for n in range(30))
    path = table("code,kind\n" + rows)
    assert names(path) == ["10", "1_0", "2_1"]
    (column,) = import_table(path).preparation.columns
    assert column.categories == ("0_0", "0_1", "1_0", "1_1", "2_0", "2_1")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("1,5", "2,5", "0,5"), "give --decimal ,"),
        (("12%", "5 %", "7.5%"), "write it without '%'"),
        (("$5", "$1,200.50", "$7"), "without '[$]'"),
        (("1,200", "2,300,000", "3,400"), "without commas if these are for thousands"),
        (("1 200", "2 300", "7 000"), "without blanks if these are for thousands"),
        (("12.500 €", "1.200 €", "3.000 €"), "without '€'"),
    ],
)
def test_numbers_as_spreadsheets_write_them_become_neither_categories_nor_classes(
    table, cells, words
):
    rows = "".join(f"{n};{cells[n % 3]};{'xy'[n % 2]}\n" for n in range(60))
    path = table("a;b;label\n" + rows)
    with pytest.raises(DataError, match=rf"line 2, column 'b': '.*{words}"):
        train(path)
    assert train(path, one_hot=True)[0].shape == (60, 4)
    if "1 200" in cells:
        assert len(names(path, target="b")) == 3
        path = table("a;b\n" + "".join(f"{n};{n} 200\n" for n in range(1, 60)))
    with pytest.raises(DataError, match=rf"target column 'b' holds .*{words}"):
        train(path, target="b")


def test_points_for_thousands_are_no_decimals_and_no_categories(table):
    rows = "".join(f"{n},5;{n % 5 + 1}.200,5;{'xy'[n % 2]}\n" for n in range(60))
    with pytest.raises(DataError, match=r"column 'b'.*without points if these are for thousands"):
        train(table("a;b;label\n" + rows), decimal=",")


@pytest.mark.parametrize("text", ["1.2.3", "10.0.0.1", "a%", "5-7", "1,2,3", "%", "", "12", "1e5"])
def test_other_texts_are_no_numbers_of_spreadsheets(text):
    assert way_to_read(text) == ""


def test_lines_of_separators_alone_around_a_table_are_no_rows(table):
    text = ",,\n,,\na,b,label\n1,2,x\n3,4,y\n" + ",,\n" * 9000
    imported = import_table(table(text))
    np.testing.assert_array_equal(imported.splits["train"][0], [[1, 2], [3, 4]])
    inside = text.replace("3,4,y", ",,\n3,z,y")
    with pytest.raises(DataError, match="line 5, column 'a': the cell is empty"):
        import_table(table(inside.replace("z", "9")))
    with pytest.raises(DataError, match="line 6, column 'b': 'z' is not a number"):
        import_table(table(inside))


def test_columns_without_names_are_told_apart(table):
    path = table("a,,,label,,\n1,2,3,x,,\n4,5,6,y,,\n")
    assert columns(path) == ["a", "Unnamed: 1", "Unnamed: 2"]
    np.testing.assert_array_equal(train(path)[0], [[1, 2, 3], [4, 5, 6]])
    assert import_table(table("a,b,,\n1,x,,\n2,y,,\n")).preparation.targets == ("b",)


def test_a_table_with_a_column_twice_is_refused_where_that_column_is_needed(table):
    made = import_table(table(LEARNED)).preparation
    text = "a,c,b,b,label\n1,red,5,6,ant\n"
    with pytest.raises(DataError, match="several columns 'b'"):
        read_table(table(text, "test.csv"), made)
    read_table(table(text.replace("b,b", "b,z"), "test.csv"), made)


@pytest.mark.parametrize(("rows", "allowed"), [(255, True), (254, False)])
def test_over_50_categories_need_five_rows_of_each(table, rows, allowed):
    path = table("state,a,label\n" + "".join(f"s{n % 51},{n},{n % 2}\n" for n in range(rows)))
    if allowed:
        assert train(path)[0].shape == (rows, 52)
    else:
        with pytest.raises(DataError, match=r"one of 51 different ones.*--categories one-hot"):
            train(path)


@pytest.mark.parametrize("name", ["PassengerId", "customer_id", "Loan ID", "userID"])
def test_a_first_column_of_ids_is_left_out(table, name):
    assert columns(table(f"{name},a,label\n101,5,x\n102,6,y\n")) == ["a"]
    assert columns(table(f"{name},a,label\n101,5,x\n101,6,y\n")) == [name, "a"]
    assert columns(table("humid,a,label\n101,5,x\n102,6,y\n")) == ["humid", "a"]


def test_texts_that_differ_in_capitals_alone_are_told(table):
    rows = "".join(f"{said},{n},{kind}\n" for n in range(9) for said, kind in
                   (("Yes", "A"), ("no", "b"), ("yes", "a")))  # fmt: skip
    notes = import_table(table("c,a,label\n" + rows)).notes
    assert "column 'c' tells 'Yes' from 'yes', which differ in capitals alone" in notes
    assert "the target tells 'A' from 'a', which differ in capitals alone" in notes


@pytest.mark.parametrize(
    ("above", "want"),
    [
        ("# a b\n", ["a"]), ("# made by me\n# a b\n", ["a"]), ("# made by me\na b\n", ["a"]),
        ("# made by me today\n", ["1"]),
    ],
)  # fmt: skip
def test_comments_above_a_table_and_names_in_the_last_one(table, tmp_path, above, want):
    path = table(above + "1.5 0\n2.5 1\n3.5 0\n")
    assert columns(path) == want
    np.testing.assert_array_equal(train(path)[0], [[1.5], [2.5], [3.5]])
    np.savetxt(tmp_path / "saved.csv", [[1.5, 0], [2.5, 1]], header="size,kind", delimiter=",")
    assert columns(tmp_path / "saved.csv") == ["size"]
    with pytest.raises(DataError, match=rf"line {above.count(chr(10)) + 2}, column"):
        train(table(above + "1.5 0\nx 1\n3.5 0\n"))


def test_a_first_cell_that_begins_with_a_cross_is_no_comment(table):
    imported = import_table(table("#red,1,u\nblue,2,v\nblue,3,u\n"))
    assert imported.preparation.columns[0].categories == ("#red", "blue")
    assert columns(table("#,a,label\n1,2,x\n2,5,y\n")) == ["a"]


def test_a_title_above_a_table_is_refused_with_what_to_do(table):
    with pytest.raises(DataError, match=r"1 cell, but most have 3: take out what stands above"):
        train(table("Report 2020\na,b,label\n1,2,x\n3,4,y\n"))


def test_rows_that_end_in_a_separator_are_not_moved_by_a_column(table):
    path = table("label,a,b\nx,1,2,\ny,3,4,\n")
    assert columns(path) == ["a", "b"]
    np.testing.assert_array_equal(train(path)[0], [[1, 2], [3, 4]])


def test_a_header_with_a_line_end_in_quotes(table):
    path = table('"size\n(cm)",b,label\n1,2,x\n3,4,y\n')
    assert columns(path) == ["size\n(cm)", "b"]


def test_negative_numbers_in_brackets_and_with_a_long_minus(table):
    rows = "".join(f"{n},(1.{n % 5}),{'xy'[n % 2]}\n" for n in range(30))
    with pytest.raises(DataError, match=r"'b'.*with a minus, not in brackets"):
        train(table("a,b,label\n" + rows))
    inputs, _ = train(table("a,label\n\u22121,x\n2,y\n\u22123.5,x\n"))
    np.testing.assert_array_equal(inputs, [[-1], [2], [-3.5]])


def test_one_text_among_whole_numbers_of_the_target_is_a_mistake(table):
    rows = "".join(f"{'uv'[n % 2]},{n % 3}\n" for n in range(30))
    with pytest.raises(DataError, match=r"numbers and 'kg': correct it, or give --na 'kg'"):
        train(table("c,label\n-,kg\n" + rows))


def test_numbers_that_float64_does_not_tell_apart_are_refused(table):
    path = table("key,a,label\n" + "".join(f"{2**53 + n},{n},{n % 2}\n" for n in range(30)))
    with pytest.raises(DataError, match=r"'key' are so large.*--drop 'key'"):
        train(path)
    assert columns(path, drop="key") == ["a"]


@pytest.mark.parametrize("cell", ["- 5", "+ 5", "(- 5)", "-  5"])
def test_a_blank_behind_a_sign_is_told(table, cell):
    words = "in brackets" if "(" in cell else "without the blank behind the sign"
    rows = "".join(f"{n},{n % 5},{n % 2}\n" for n in range(20))
    path = table(f"a,b,label\n{rows}7,{cell},1\n")
    with pytest.raises(DataError, match=f"line 22, column 'b'.*{words}"):
        train(path)
    with pytest.raises(DataError, match="'b' holds"):
        train(path, target="b")


@pytest.mark.parametrize(
    ("above", "first", "want"),
    [
        ("# label a b\n", "1 nan 3\n", ["a", "b"]), ("#label,a,b\n", "1,?,3\n", ["a", "b"]),
        ("#a,b,label\n", "NA,3,1\n", ["a", "b"]), ("", "1,?,3\n", ["1", "2"]),
        ("", "?,1,1\n", ["1", "2"]), ("a,b,kind\n", "NA,?,1\n", ["a", "b"]),
    ],
)  # fmt: skip
def test_a_missing_value_in_the_first_row_does_not_make_it_a_header(table, above, first, want):
    rows = "".join(f"{n % 2},{n + 0.5},{n % 3}\n" for n in range(20))
    path = table(above + first + (rows.replace(",", " ") if " " in first else rows))
    imported = import_table(path, Options(missing="mean", na=("?",)))
    assert [column.name for column in imported.preparation.columns] == want
    assert len(imported.splits["train"][0]) == 21


def test_names_of_texts_in_a_comment_are_found_before_the_first_row(table):
    rows = "green,huge,maybe\n" + "red,big,yes\nblue,small,no\n" * 5
    path = table("#color,size,kind\n" + rows)
    assert columns(path) == ["color", "size"]
    assert names(path) == ["maybe", "no", "yes"]
    under = table("# two words\na kind\nu x\nv y\n", "under.csv")
    assert columns(under) == ["a"]


@pytest.mark.parametrize("cells", ["012", "123", "uvw"])
def test_names_that_may_be_moved_by_a_column_are_refused(table, cells):
    rows = "".join(f"{cell},{n + 20},{n * 7},\n" for n, cell in enumerate(cells))
    with pytest.raises(DataError, match="one cell more than the first line has names"):
        train(table("age,height,score\n" + rows))
    for name in ("id", "label"):
        assert "b" in columns(table(f"{name},a,b\n" + rows), target="a")
    many = "".join(f"{n},{n % 5},{n % 3},\n" for n in range(20))
    with pytest.raises(DataError, match="name the first column too"):
        train(table("label,a,b\n" + many))


@pytest.mark.parametrize("ends", [",", ",,", ",,,"])
def test_rows_that_end_in_several_separators_are_read_as_with_one(table, ends):
    path = table("label,a,b\n" + f"0,0.5,1{ends}\n1,1.5,1{ends}\n" * 5)
    assert columns(path) == ["a", "b"]
    np.testing.assert_array_equal(train(path)[0], [[0.5, 1], [1.5, 1]] * 5)
    with pytest.raises(DataError, match="1 cell, but most have 3"):
        train(table(f"Report 2020\na,b,label\n1,2,x{ends}\n3,4,y{ends}\n5,6,y{ends}\n"))


def test_a_title_above_a_table_of_two_columns_is_refused(table):
    for rows in ("color;kind\nred;yes\nblue;no\n", "size;kind\n1;yes\n2;no\n"):
        with pytest.raises(DataError, match="1 cell, but most have 2: take out"):
            train(table("Measured 2020\n" + rows))
    assert columns(table("kind\n0.5,1\n0.25,0\n0.5,1\n")) == [""]


@pytest.mark.parametrize(("value", "step"), [(0.3, 4e-17), (0.3, 1e-14), (1e12, 0.2)])
def test_numbers_that_differ_by_rounding_alone_are_not_called_large(table, value, step):
    rows = "".join(f"{value + n % 2 * step!r},{n},{n % 2}\n" for n in range(30))
    with pytest.raises(DataError, match=r"'a' differ by little more than the rounding.*--drop 'a'"):
        train(table("a,b,label\n" + rows))


@pytest.mark.parametrize("codes", [("110 001", "110 002"), ("(1)", "(2)", "(3)"), ("0%", "50%")])
def test_codes_that_look_like_numbers_are_classes_and_have_a_way_out_as_inputs(table, codes):
    rows = "".join(f"{codes[n % len(codes)]},{n},{'xy'[n % 2]}\n" for n in range(30))
    path = table("a,b,label\n" + rows)
    with pytest.raises(DataError, match=r"'a'.*or give --categories one-hot if the column holds"):
        train(path)
    assert train(path, one_hot=True)[0].shape == (30, len(codes) + 1)
    imported = import_table(path, Options(target="a", one_hot=True))
    assert imported.preparation.classes == tuple(sorted(codes))
    assert any("are taken for classes" in note for note in imported.notes)
