"""Folds: each row once, classes alike, the same again; and the error of a difference."""

import h5py
import numpy as np
import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.data import open_dataset
from disttrain.errors import RunFileError, UsageError
from disttrain.runs import train
from disttrain.selection.ensemble import combine, train_each
from disttrain.selection.finals import best_of_folds
from disttrain.selection.folds import difference, folds_of, mean_and_deviation, of_fold
from disttrain.selection.validation import Plan, cross_validate
from tests.conftest import blobs


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_folds_hold_each_row_once_and_each_class_alike(count):
    targets = np.random.default_rng(0).choice([0, 1, 1, 2, 2, 2, 2], 101)
    folds = folds_of(targets, count, seed=1)
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(101))
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    for kind in range(3):
        here = [(targets[fold] == kind).sum() for fold in folds]
        assert max(here) - min(here) <= 1


def test_folds_depend_on_seed_and_repeat_alone():
    targets = np.arange(60) % 3
    assert all(map(np.array_equal, folds_of(targets, 4, 1), folds_of(targets, 4, 1)))
    for other in (folds_of(targets, 4, 2), folds_of(targets, 4, 1, repeat=1)):
        assert not all(map(np.array_equal, folds_of(targets, 4, 1), other))
    numbers = folds_of(np.linspace(0, 1, 60), 4, 1)
    assert np.array_equal(np.sort(np.concatenate(numbers)), np.arange(60))


def test_the_rows_of_a_fold_are_in_no_other_split_and_the_test_rows_nowhere(settings):
    given = settings("data.validation_fraction=0").data
    data = open_dataset(given, 1, Alone(), only="train")
    fold = folds_of(data.splits["train"].targets, 5, 1)[2]
    made = of_fold(data, fold, aside=0.25, seed=1)
    rows = {name: made.numbers[name] for name in ("train", "validation", "test")}
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(110))
    assert np.array_equal(rows["test"], fold)
    stored, places = made.splits["train"].rows.locate(np.arange(5))
    whole, _ = data.splits["train"].rows.locate(np.arange(110))
    assert np.array_equal(stored[places], whole[rows["train"][:5]])
    assert set(data.splits) == {"train"}


def test_means_deviations_and_the_corrected_error_of_a_difference():
    mean, deviation = mean_and_deviation([0.8, 0.9, 0.85, 0.95])
    assert mean == pytest.approx(0.875)
    assert deviation == pytest.approx(np.std([0.8, 0.9, 0.85, 0.95], ddof=1))
    gap, error = difference([0.8, 0.9, 0.85, 0.95], [0.7, 0.9, 0.8, 0.8], 4)
    assert gap == pytest.approx(0.075)
    assert error == pytest.approx(np.std([0.1, 0, 0.05, 0.15], ddof=1) * np.sqrt(1 / 4 + 1 / 3))


@pytest.fixture
def run_file(tmp_path, data_path):
    path = tmp_path / "run.toml"
    path.write_text(f"""
        data.path = "{data_path}"
        model.layers = [{{ units = 6, activation = "tanh" }}, {{ units = 3 }}]
        training = {{ epochs = 2, batch_size = 16 }}
        device.kind = "cpu"
    """)
    return str(path)


def test_the_best_settings_are_named_and_written_for_all_training_rows(run_file, tmp_path):
    said = []
    plan = Plan(run_file, (), {"schedule.learning_rate": [1e-4, 0.1, 1e30]}, folds=3, repeats=2)
    found = cross_validate(plan, tmp_path / "folds", Alone(), say=said.append)
    assert found["best"] == 1
    low, good, bad = found["settings"]
    assert low["mean"] < good["mean"] == found["mean"]
    assert [fold["status"] for fold in bad["folds"]] == ["diverged"] * 6
    assert bad["mean"] is None
    assert found["difference"]["second"] == 0
    assert found["difference"]["larger"] is (
        found["difference"]["difference"] > found["difference"]["error"]
    )
    assert len(said) == 18
    text = (tmp_path / "folds/best.toml").read_text()
    assert "learning_rate = 0.1" in text
    assert "validation_fraction = 0.0" in text
    # Rows of each fold: 110 in three parts, twice.
    assert sum(fold["rows"] for fold in good["folds"]) == 220
    best, second = best_of_folds(tmp_path / "folds", 2)
    assert best.schedule.learning_rate == 0.1
    assert second.schedule.learning_rate == 1e-4
    assert best.data.validation_fraction == second.data.validation_fraction == 0
    with pytest.raises(UsageError, match="2 settings with a mean"):
        best_of_folds(tmp_path / "folds", 3)
    files = train_each([best, second], tmp_path / "both", Alone(), say=said.append)
    facts = combine(files, tmp_path / "both", Alone(), kind="top")
    assert [row["path"].split("/")[:2] for row in facts["members"]] == [
        ["members", "1"],
        ["members", "2"],
    ]
    alone = train(config.read(tmp_path / "folds/best.toml"), tmp_path / "alone", Alone())
    assert facts["members"][0]["digest"] == alone["digest"]


def test_members_that_could_not_be_scored_are_not_trained(run_file, tmp_path):
    with h5py.File(config.read(run_file).data.path, "a") as file:
        del file["test"]
    plan = Plan(run_file, (), {"schedule.learning_rate": [0.01, 0.1]}, folds=2)
    cross_validate(plan, tmp_path / "folds", Alone(), say=lambda line: None)
    best = best_of_folds(tmp_path / "folds", 2)
    for split, named in ((None, "validation"), ("test", "test")):
        with pytest.raises(UsageError, match=f"no rows for the {named} split.*--split train"):
            train_each(best, tmp_path / "both", Alone(), split=split, say=lambda line: None)
    assert not list((tmp_path / "both").glob("members/*"))
    train_each(best, tmp_path / "both", Alone(), split="train", say=lambda line: None)


def test_early_stopping_sets_rows_aside_and_the_final_run_needs_none(run_file, tmp_path):
    plan = Plan(run_file, ("validation.patience=1", "training.epochs=9"), {}, folds=2)
    found = cross_validate(plan, tmp_path / "folds", Alone(), say=lambda line: None)
    epochs = [fold["epochs"] for fold in found["folds"]]
    text = (tmp_path / "folds/best.toml").read_text()
    assert "patience" not in text
    assert f"epochs = {round(sum(epochs) / 2)}" in text


def test_all_folds_and_the_final_run_have_one_batch_size_and_one_rate(write_data, tmp_path):
    """Those for all 2,559 training rows, though most folds train on 2,047, which have others."""
    path, data = tmp_path / "run.toml", write_data("many.h5", train=blobs(2559, 1))
    path.write_text(
        f'data.path = "{data}"\nmodel.layers = [{{ units = 3 }}]\ntraining.epochs = 1\n'
        'device.kind = "cpu"\n'
    )
    chosen = ("training.batch_size=32", "schedule.learning_rate=0.05")
    digests = []
    for name, sets in (("left", ()), ("stated", chosen)):
        plan = Plan(str(path), sets, {}, folds=5)
        found = cross_validate(plan, tmp_path / name, Alone(), say=lambda line: None)
        digests.append([fold["digest"] for fold in found["folds"]])
        final = config.read(tmp_path / name / "best.toml")
        assert (final.training.batch_size, final.schedule.learning_rate) == (32, 0.05)
        assert "batch_size = 32" in (tmp_path / name / "best.toml").read_text()
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"folds": 1}, "give 2 to 110"),
        ({"folds": 111}, "give 2 to 110"),
        ({"over": {"data.path": ["a", "b"]}}, "judged on the same rows"),
        ({"over": {"data": [{"path": "a"}]}}, "judged on the same rows"),
        ({"over": {"schedule.learning_rte": [1.0]}}, "--over schedule.learning_rte: .*you mean"),
        ({"over": {"schedule.learning_rate": [0.1, 0.2, 0.1]}}, "0.1 is there twice"),
        ({"over": {"model.layers.1.units": [4, 5]}}, "give it units = 3"),
    ],
)
def test_folds_that_cant_be_made_are_refused(run_file, tmp_path, plan, says):
    given = {"sets": (), "over": {}} | plan
    with pytest.raises((UsageError, RunFileError), match=says):
        cross_validate(Plan(run_file, **given), tmp_path / "folds", Alone())
