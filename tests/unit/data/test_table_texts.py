"""Cells and lines that other programs write around what is meant: titles, formulas, zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disttrain.data.importers.dialect import BLANKS, sniff
from disttrain.data.importers.tables import Options, import_table, read_table
from disttrain.errors import DataError


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(third: list[str], count: int = 40) -> list[str]:
    return [f"{n * 7 % 10 / 4},{n * 3 % 8 / 4},{third[n % len(third)]}" for n in range(count)]


@pytest.mark.parametrize("first", ["missing,1.5,a", "missing,missing,b", "0.5,missing,a"])
def test_a_word_for_missing_in_the_first_row_names_no_column(tmp_path, first):
    path = written(tmp_path / "t.csv", [first, *rows(["a", "b"])])
    imported = import_table(path, Options(na=("missing",), missing="mean"))
    assert [column.name for column in imported.preparation.columns] == ["1", "2"]
    assert len(imported.splits["train"][0]) == 41


@pytest.mark.parametrize("title", ["Report 2020,,", "Report 2020, ,", '"Report, 2020",,'])
def test_a_title_in_a_line_of_empty_cells_is_refused(tmp_path, title):
    path = written(tmp_path / "t.csv", [title, "u,v,kind", *rows(["a", "b"])])
    with pytest.raises(DataError, match="1 cell, but most have 3: take out what stands above"):
        import_table(path)


def test_a_first_row_of_one_cell_is_no_title_where_the_next_names_nothing(tmp_path):
    path = written(tmp_path / "t.csv", ["red,,", "red,1,b", "blue,2,c", "red,1,b", "blue,2,c"] * 3)
    assert import_table(path, Options(missing="drop")).preparation.columns[0].name == "1"
    path = written(tmp_path / "n.csv", ["5,,", *rows(["a", "b"])])
    assert len(import_table(path, Options(missing="drop")).splits["train"][0]) == 40


def test_texts_as_excel_keeps_them_are_what_stands_in_them(tmp_path):
    plain = written(tmp_path / "p.csv", ["u,v,kind", *rows(["00123", "00124"])])
    lines = [line.replace(",00", ',="00') + '"' for line in rows(["00123", "00124"])]
    excel = written(tmp_path / "e.csv", ['="u","v",="kind"', *lines])
    want, found = import_table(plain), import_table(excel)
    assert found.classes == want.classes == ["00123", "00124"]
    assert found.preparation == want.preparation
    np.testing.assert_array_equal(found.splits["train"][1], want.splits["train"][1])


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        (["007", "008", "010"], ["007", "008", "010"]),
        (["00", "01", "02"], ["00", "01", "02"]),
        (["007", "7", "8"], ["7", "8"]),  # who loses zeros means the same class
        (["7.0", "8.0"], ["7", "8"]),
    ],
)
def test_class_codes_keep_the_zeros_they_begin_with(tmp_path, codes, classes):
    path = written(tmp_path / "t.csv", ["u,v,kind", *rows(codes)])
    assert import_table(path).classes == classes


def test_codes_with_and_without_zeros_are_matched(tmp_path):
    coded = import_table(written(tmp_path / "c.csv", ["u,v,kind", *rows(["007", "010"])]))
    plain = import_table(written(tmp_path / "p.csv", ["u,v,kind", *rows(["7", "10"])]))
    for taught, other in ((coded, "p.csv"), (plain, "c.csv")):
        targets = read_table(tmp_path / other, taught.preparation)[1]
        np.testing.assert_array_equal(targets, taught.splits["train"][1])


def test_rare_classes_are_told_by_the_names_that_they_have(tmp_path):
    cells = ["1.0"] * 20 + ["2.0"] * 17 + ["3.0", "3.0", "3"]
    imported = import_table(written(tmp_path / "t.csv", ["u,v,kind", *rows(cells)]))
    assert imported.notes == ("classes with few rows: 3 (3)",)


def test_one_input_is_called_so(tmp_path):
    lines = [f"2001-01-{n % 28 + 1:02d},same,{n % 2}" for n in range(40)]
    imported = import_table(written(tmp_path / "t.csv", ["day,word,kind", *lines]))
    assert "column 'word' gives 1 input, for same" in imported.notes


def test_bytes_in_parquet_are_text(tmp_path):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": np.arange(20.0), "place": [b"K\xc3\xb6ln", b"Bonn"] * 10})
    frame["kind"] = [b"u", b"v"] * 10
    frame.to_parquet(tmp_path / "t.parquet")
    imported = import_table(tmp_path / "t.parquet")
    assert imported.classes == ["u", "v"]
    assert imported.preparation.columns[1].categories == ("Bonn", "Köln")


def test_a_number_that_is_not_finite_is_told_without_the_training_table(tmp_path):
    path = written(tmp_path / "t.csv", ["u,v,kind", "inf,1,a", *rows(["a", "b"])])
    with pytest.raises(DataError, match="line 2, column 'u': inf is not a finite number: correct"):
        import_table(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_of_pandas_that_was_written_again_is_no_input(tmp_path, suffix):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": np.arange(40) % 7, "kind": ["u", "v"] * 20})
    for _ in range(3):
        frame.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv")
        frame = pandas.read_csv(tmp_path / "t.csv")
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    imported = import_table(path)
    assert [column.name for column in imported.preparation.columns] == ["a"]
    assert any("what pandas numbered the rows by before" in note for note in imported.notes)


def test_the_format_of_libsvm_is_no_table(tmp_path):
    lines = [f"{n % 2 * 2 - 1} 1:{n % 7} 4:0.5 # row" for n in range(20)]
    with pytest.raises(DataError, match="is in LIBSVM's format, not a table: write it as CSV"):
        import_table(written(tmp_path / "t.txt", lines))
    times = written(
        tmp_path / "u.txt", [f"{n % 2} {n % 9 + 10}:30 11:{n % 50 + 10}" for n in range(20)]
    )
    assert import_table(times, Options(target="1")).classes is None


def test_numbers_in_single_quotes_are_no_categories(tmp_path):
    path = written(tmp_path / "t.csv", ["u,kind", *(f"'{n % 7}','{n % 2}'" for n in range(20))])
    with pytest.raises(DataError, match=r"line 2, column 'u': ''0'' is not a number.*without quo"):
        import_table(path)


WORDS = ["red,big,sad,yes", "blue,small,odd,no", "red,none,odd,yes", "none,small,sad,no"]


@pytest.mark.parametrize("first", ["?,b,c,yes", "none,big,odd,yes"])
def test_a_word_for_missing_in_a_first_row_of_texts_is_no_name(tmp_path, first):
    path = written(tmp_path / "t.csv", [first, *WORDS * 5])
    imported = import_table(path, Options(na=("?", "none"), missing="mean"))
    assert [column.name for column in imported.preparation.columns] == ["1", "2", "3"]
    assert len(imported.splits["train"][0]) == 21


@pytest.mark.parametrize("first", ["low,none,high,sort", ",none,high,sort"])
def test_a_name_that_is_a_word_for_missing_is_a_name_where_no_cell_below_is_it(tmp_path, first):
    lines = [line.replace("none", "dull") for line in WORDS * 15]
    path = written(tmp_path / "t.csv", [first, *lines])
    assert sniff(path, None, ".", ("none",)).names == first.split(",")
    again = written(tmp_path / "u.csv", [first, *lines, "red,none,odd,yes"])
    assert sniff(again, None, ".", ("none",)).names == ["1", "2", "3", "4"]


@pytest.mark.parametrize("cell", ["2013-07-02 15:05:00", "2013-07-02 15:05", "1 12:30:15"])
def test_a_time_in_the_first_cell_is_not_the_format_of_libsvm(tmp_path, cell):
    lines = [f"{cell},{n % 7 / 2},{n % 2}" for n in range(20)]
    assert len(import_table(written(tmp_path / "t.csv", lines)).splits["train"][0]) == 20


@pytest.mark.parametrize("line", ["1 3:0.5 7:-1.25e-3 9:.5", "+1 3:4.  # row", "2.5 3:1"])
def test_lines_of_libsvm_are_told(tmp_path, line):
    with pytest.raises(DataError, match="is in LIBSVM's format"):
        import_table(written(tmp_path / "t.txt", [line] * 3))


def test_a_long_line_is_told_from_libsvm_at_once(tmp_path):
    path = written(tmp_path / "t.txt", ["1 3:" + "1" * 1_000_000 + "x", "0 3:4x"])
    assert sniff(path, None, ".").separator == BLANKS
