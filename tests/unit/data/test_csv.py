import gzip

import numpy as np
import pytest

from disttrain.data.importers import csv as csv_importer
from disttrain.data.importers.csv import import_csv
from disttrain.data.importers.holdout import hold_out
from disttrain.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def train(path, **options):
    return import_csv(path, **options).splits["train"]


def test_whole_numbers_to_255_stay_uint8_and_others_become_float32(table):
    inputs, targets = train(table("a,b,label\n0,255,1\n3,4,0\n"))
    assert inputs.dtype == np.uint8
    np.testing.assert_array_equal(inputs, [[0, 255], [3, 4]])
    np.testing.assert_array_equal(targets, [1, 0])
    assert targets.dtype == np.int64
    for cell in ("256", "-1", "0.5"):
        inputs, _ = train(table(f"a,b,label\n0,{cell},1\n3,4,0\n"))
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(inputs, np.float32([[0, cell], [3, 4]]))


def test_blocks_of_different_dtype_are_joined(table, monkeypatch):
    monkeypatch.setattr(csv_importer, "BLOCK_CELLS", 6)
    inputs, targets = train(table("a,b,y\n" + "1,2,0\n" * 5 + "1.5,2,1\n"))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, 0], [1, 1, 1, 1, 1, 1.5])
    np.testing.assert_array_equal(targets, [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("name", ["label", "Target", "CLASS", "y"])
def test_the_target_is_known_by_its_name(table, name):
    _, targets = train(table(f"a,{name},b\n1,5,2\n3,6,4\n"))
    np.testing.assert_array_equal(targets, [5, 6])


def test_else_the_target_is_the_last_column(table):
    np.testing.assert_array_equal(train(table("a,b,c\n1,2,3\n4,5,6\n"))[1], [3, 6])
    np.testing.assert_array_equal(train(table("1,2,3\n4,5,6\n"))[1], [3, 6])


def test_a_header_is_not_taken_for_data_nor_data_for_a_header(table):
    imported = import_csv(table("5.1,3.5,setosa\n6,3,virginica\n"))
    assert len(imported.splits["train"][0]) == 2
    assert imported.classes == ["setosa", "virginica"]
    assert len(train(table("0,1,label\n5,6,1\n7,8,0\n"))[0]) == 2
    assert len(train(table("0,1,species\n5,6,1\n7,8,0\n"), target="species")[0]) == 2


def test_columns_without_a_header_are_called_by_number(table):
    imported = import_csv(table("b,1,2\na,3,4\nb,5,6\n"), target="1")
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


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_quotes_byte_order_mark_gzip_and_blank_lines(table, separator):
    text = "\ufeff" + 'a,b,label\r\n"1",2,x\r\n\r\n3,4,"y ""z"""\r\n'.replace(",", separator)
    for content in (text.encode(), gzip.compress(text.encode())):
        imported = import_csv(table(content))
        np.testing.assert_array_equal(imported.splits["train"][0], [[1, 2], [3, 4]])
        assert imported.classes == ["x", 'y "z"']


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,label\n", "holds a header but no rows"),
        ("a,b,label\n1,2,0\n\n1,2\n", "line 4: 2 cells, but the table has 3 columns"),
        ("a,b,label\n1,2,0\n1,2,3,4\n", "line 3: 4 cells, but the table has 3 columns"),
        ("a,b,label\n1,2,0\n1,x,0\n", "line 3, column 'b': 'x' is not a number"),
        ("1,2,0\n1,,0\n", "line 2, column '2': the cell is empty"),
        ("a,b,label\n1,nan,0\n", "line 2, column 'b': nan is not a finite number"),
        ("a,b,label\n1,1,0\n-inf,2,0\n", "line 3, column 'a': -inf is not a finite number"),
        ("a,b,label\n1,1e39,0\n", "line 2, column 'b': 1e39 is not a finite number"),
        ("a,b,label\n1,2,0\n1,2,-3\n", "line 3, column 'label': class number -3 is negative"),
        ("a,b,label\n1,2,0\n1,2,\n", "line 3, column 'label': the cell is empty"),
        ("a,b,label\n1,2,0\n1,2,cat\n", "line 3, column 'label': 'cat' is not a number"),
        ("a,b,label\n1,2,nan\n1,2,1\n", "line 2, column 'label': nan is not a finite number"),
        ("label\n1\n2\n", "has no column but the target"),
        (b"\xff\xfea\0,\0b\0", "is not text in UTF-8"),
        (b"\0\0\x08\x01", "is not a table of text"),
        (gzip.compress(b"a,label\n" + b"1,2\n" * 100)[:-9], "is a truncated gzip file"),
    ],
)
def test_a_bad_table_is_named_with_line_and_cause(table, text, cause):
    path = table(text)
    with pytest.raises(DataError) as caught:
        import_csv(path)
    assert str(path) in str(caught.value)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_target_that_is_not_there_lists_the_columns(table):
    with pytest.raises(DataError, match=r"no column 'z': the columns are a, b, label$"):
        import_csv(table("a,b,label\n1,2,3\n"), target="z")
    with pytest.raises(DataError, match="several columns 'a'"):
        import_csv(table("a,a,label\n1,2,3\n"), target="a")
    with pytest.raises(DataError, match="names a column twice"):
        import_csv(table("a,b,label\n1,2,3\n"), target="a,a")


def _many(table, rows=200):
    lines = [
        f"{row % 256},{row // 256},{'rare' if row % 10 == 0 else 'often'}" for row in range(rows)
    ]
    return import_csv(table("a,b,label\n" + "\n".join(lines)))


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


def test_the_last_row_of_a_class_stays_in_training(table):
    imported = import_csv(table("a,label\n" + "".join(f"{i},c{i // 2}\n" for i in range(20))))
    split = hold_out(imported, 0.9, seed=0)
    assert np.bincount(split.splits["train"][1]).tolist() == [1] * 10


def test_a_regression_can_be_held_out_and_bad_fractions_are_refused(table):
    imported = import_csv(table("a,y\n" + "".join(f"{i},{i / 3}\n" for i in range(10))))
    split = hold_out(imported, 0.3, seed=0)
    assert len(split.splits["test"][0]) == 3
    with pytest.raises(DataError, match="leaves none to test on"):
        hold_out(imported, 0.01, seed=0)
    with pytest.raises(UsageError, match="test rows already"):
        hold_out(split, 0.3, seed=0)
    with pytest.raises(UsageError, match="below 1"):
        hold_out(imported, 1.0, seed=0)
