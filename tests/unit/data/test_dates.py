"""Dates of tables: found, turned into numbers, and read alike in other tables."""

import numpy as np
import pandas
import pytest

import disttrain
from disttrain.data.dates import date_format, date_parts, days_of
from disttrain.data.importers.tables import Options, import_table, read_table
from disttrain.errors import DataError


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["2012-01-31", "2012-02-01"], "2012-01-31"),
        (["2012/01/31 10:00", "2012/02/01 11:30:15"], "2012-01-31 10:00"),
        (["2012-01-31T10:00:00+02:00"], "2012-01-31 08:00"),
        (["1890-03-01", "1500-01-01"], "1890-03-01"),
        (["31.01.2012", "1.2.2012"], "2012-01-31"),
        (["01/31/2012", "02/01/2012"], "2012-01-31"),
        (["31/01/2012 10:00", "02/01/2012 11:00"], "2012-01-31 10:00"),
        (["1/31/12 1:30 PM"], "2012-01-31 13:30"),
        (["Jan 1 2000", "Feb 12 2000"], "2000-01-01"),
        (["May 5, 2000", "June 12, 2000"], "2000-05-05"),
        (["1 May 2000"], "2000-05-01"),
        (["2012-Q3", "2013 Q1"], "2012-07-01"),
        (["Jan-1-1995", "Dec-11-1996"], "1995-01-01"),
        (["Jan-95", "Feb-96"], "1995-01-01"),
        (["02/2012", "11/2013"], "2012-02-01"),
        (["05/Jan/2012"], "2012-01-05"),
        (["14:30", "03:15"], "1970-01-01 14:30"),
    ],
)
def test_usual_forms_of_dates_are_read(texts, first):
    want = (np.datetime64(first, "s") - np.datetime64("1970-01-01", "s")) / np.timedelta64(1, "D")
    assert days_of(texts, date_format(texts))[0] == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("texts", [["red", "2012-01-31"], ["10-20", "20-30"], ["1999-00"], ["May"]])
def test_other_texts_are_no_dates(texts):
    assert date_format(texts) == ""


def test_a_date_of_which_nobody_can_say_what_is_the_month_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("when,label\n01/02/2012,x\n03/04/2012,y\n")
    with pytest.raises(DataError, match="line 2, column 'when': '01/02/2012' has the month first"):
        import_table(tmp_path / "a.csv", Options())


def test_only_parts_that_vary_become_inputs():
    daily = np.arange(800.0)
    assert date_parts(daily) == ("days", "year sine", "year cosine", "week sine", "week cosine")
    assert date_parts(np.array([0, 365, 731, 1096.0])) == ("days",)
    assert date_parts(np.arange(50) / 24) == ("days", "day sine", "day cosine")


def test_other_tables_get_the_inputs_of_the_training_table(tmp_path):
    days = pandas.date_range("2012-01-01", periods=400, freq="D")
    frame = pandas.DataFrame({"day": days, "rain": np.arange(400) % 7, "y": np.arange(400) / 3})
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[5:20].to_parquet(tmp_path / "test.parquet")
    imported = import_table(tmp_path / "train.csv", others={"test": tmp_path / "test.parquet"})
    train, test = imported.splits["train"][0], imported.splits["test"][0]
    np.testing.assert_array_equal(test, train[5:20])
    passed = (days - pandas.Timestamp("1970-01-01")).days.to_numpy()
    np.testing.assert_array_equal(train[:, 0], passed)
    np.testing.assert_allclose(train[:, 1], np.sin(2 * np.pi * passed / 365.2425), atol=1e-6)
    np.testing.assert_allclose(train[:, 4], np.cos(2 * np.pi * passed / 7), atol=1e-6)
    assert any("'day' holds dates and gives 5 inputs" in note for note in imported.notes)
    (tmp_path / "bad.csv").write_text("day,rain,y\n2012-01-01,3,1\nyesterday,3,1\n")
    with pytest.raises(DataError, match="line 3, column 'day': 'yesterday' is not a date"):
        read_table(tmp_path / "bad.csv", imported.preparation)


def test_times_that_float32_loses_are_kept(tmp_path):
    stamps = pandas.date_range("2024-05-05 10:00:00", periods=60, freq="s")
    pandas.DataFrame({"at": stamps, "y": np.arange(60) % 2}).to_csv(tmp_path / "a.csv", index=False)
    inputs = import_table(tmp_path / "a.csv").splits["train"][0]
    assert inputs.dtype == np.float64
    assert len(np.unique(inputs[:, 0])) == 60


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_missing_dates_are_filled_as_numbers_are(tmp_path, missing):
    (tmp_path / "a.csv").write_text("day,y\n2012-01-01,0\n,1\n2012-01-03,1\n2012-01-03,0\n")
    with pytest.raises(DataError, match="the cell is empty"):
        import_table(tmp_path / "a.csv")
    inputs = import_table(tmp_path / "a.csv", Options(missing=missing)).splits["train"][0]
    first = (np.datetime64("2012-01-01") - np.datetime64("1970-01-01")).astype(int)
    np.testing.assert_allclose(inputs[:, 0], first + np.array([0, 4 / 3, 2, 2]))
    assert inputs[:, 1:].tolist() == ([[0], [1], [0], [0]] if missing == "indicator" else [[]] * 4)


def test_a_dataframe_with_times_and_durations_is_learned_and_read():
    count = 200
    frame = pandas.DataFrame(
        {
            "at": pandas.date_range("2020-01-01", periods=count, freq="h", tz="Europe/Berlin"),
            "took": pandas.to_timedelta(np.arange(count), unit="s"),
        }
    )
    labels = np.where(np.sin(2 * np.pi * (np.arange(count) - 1) / 24) > 0, "day", "night")
    model = disttrain.train(
        disttrain.Data(frame, labels), layers=[16, 2], epochs=60, learning_rate=0.1, batch_size=16
    )
    assert [c.kind for c in model.taught.preparation.columns] == ["date", "number"]
    assert model.evaluate(frame, labels).accuracy > 0.95
    np.testing.assert_array_equal(model.predict(frame)[3], model.predict(frame.iloc[3:4])[0])
