"""Tables that don't fit the memory: read in blocks, to the numbers that they have in one piece."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from disttrain.data.importers import learn, parquet, spool
from disttrain.data.importers import table as table_of
from disttrain.data.importers.tables import Options, import_table
from disttrain.data.writer import write_data_file

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

ROWS = 300


@pytest.fixture
def frame() -> pandas.DataFrame:
    random = np.random.default_rng(0)
    made = pandas.DataFrame(random.normal(size=(ROWS, 5)).round(3), columns=list("abcde"))
    made.loc[random.choice(ROWS, 40, replace=False), "b"] = np.nan
    made["small"] = made["a"].astype("float32")
    made["count"] = random.integers(0, 9, ROWS)
    made["some"] = pandas.array(random.integers(0, 9, ROWS), dtype="Int64")
    made.loc[5:20, "some"] = pandas.NA
    made["city"] = random.choice(["Bonn", "Trier", None], ROWS)
    made["day"] = pandas.Timestamp("2012-01-01") + pandas.to_timedelta(np.arange(ROWS), "D")
    made["yes"] = random.random(ROWS) < 0.5
    made["weight"] = random.integers(1, 4, ROWS)
    made["label"] = random.choice([3, 5, 8], ROWS)
    return made


def read(path: Path, tmp_path: Path, **more):
    options = Options(missing="median", weights="weight")
    return import_table(path, options, others={"test": path}, room=tmp_path, **more)


@pytest.mark.parametrize("groups", [ROWS, 110])
def test_blocks_of_any_size_and_wide_parquet_give_the_same_numbers(
    frame, tmp_path, monkeypatch, groups
):
    whole = tmp_path / "whole.parquet"
    frame.to_parquet(whole, row_group_size=groups)
    frame.to_csv(tmp_path / "t.csv", index=False)
    want = read(whole, tmp_path)
    monkeypatch.setattr(table_of, "BLOCK_CELLS", 700)
    monkeypatch.setattr(parquet, "WIDE_BYTES", 0)
    monkeypatch.setattr(parquet, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(learn, "MEDIAN_CELLS", 10)
    monkeypatch.setattr(spool, "IN_MEMORY", 1000)
    for path in (whole, tmp_path / "t.csv"):
        found = read(path, tmp_path)
        for mine, other in zip(found.preparation.columns, want.preparation.columns, strict=True):
            assert (mine.name, mine.kind, mine.categories) == (
                other.name, other.kind, other.categories
            )  # fmt: skip
            if other.fill is not None:
                assert mine.fill == pytest.approx(other.fill, rel=1e-7)
        assert found.preparation.classes == ("3", "5", "8")
        for split in ("train", "test"):
            for mine, other in zip(found.splits[split], want.splits[split], strict=True):
                np.testing.assert_array_equal(mine, other)
            np.testing.assert_array_equal(found.weights[split], want.weights[split])
        assert isinstance(found.splits["train"][0], np.memmap)
    fills = {column.name: column.fill for column in want.preparation.columns}
    assert fills["b"] == np.nanmedian(frame["b"])
    assert fills["some"] == frame["some"].median()
    for imported, name in ((want, "memory.h5"), (found, "file.h5")):
        write_data_file(tmp_path / name, imported.splits, weights=imported.weights, seed=3)
    assert (tmp_path / "memory.h5").read_bytes() == (tmp_path / "file.h5").read_bytes()


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_it_is_told_how_far_reading_has_come(frame, tmp_path, monkeypatch, name):
    monkeypatch.setattr(table_of, "BLOCK_CELLS", 700)
    path, told = tmp_path / name, []
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    read(path, tmp_path, read=lambda *so_far: told.append(so_far))
    assert {each[0] for each in told} == {path}
    last = [each for each in told if each[1] == ROWS]
    assert len(last) >= 3  # looked at, medians, rows; and the test table
    assert all(part == 1 for _, _, part in last)
    assert all(0 < part <= 1 for _, _, part in told)
