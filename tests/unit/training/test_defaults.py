"""What a run file of two keys gets: by the data, in the units of the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import load
from disttrain.comm.alone import Alone
from disttrain.config import parse, to_toml
from disttrain.runs import train
from disttrain.runs.trained import load_trained
from disttrain.training import build_run
from disttrain.training.fitted import as_begun

WriteData = Callable[..., str]


def house_prices(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs of unlike scales and two targets around 200,000 and 3,000."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3)) * [1, 100, 0.01] + [0, 1000, 5]
    z = (x - [0, 1000, 5]) / [1, 100, 0.01]
    noise = random.normal(size=(rows, 2))
    prices = 2e5 + 5e4 * (z[:, :2] + 0.2 * noise)
    return x, prices * [1, 0.015]


def two_keys(path: str, units: int, *changes: str) -> Any:
    """Return the settings of a data file and one layer."""
    text = f"data.path = '{path}'\nmodel.layers = [{{ units = {units} }}]\n"
    return parse(text, ["device.kind=cpu", "training.epochs=30", *changes])


def test_numbers_are_standardized_inside_and_shown_in_their_units(
    write_data: WriteData, tmp_path: Path
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    (x, y), (x2, y2) = (house_prices()[i] for i in (0, 1)), house_prices(300)
    path = write_data(train=(x, y), test=(x2[200:], y2[200:]))
    summary = train(two_keys(path, 2, "schedule.learning_rate=0.01"), tmp_path / "run", Alone())
    trained = load_trained(tmp_path / "run", Alone())
    assert trained.settings.model.loss == "squared"
    predicted = trained.predict(x2[200:])
    want = {
        "loss": np.square(predicted - y2[200:]).sum(axis=1).mean(),
        "accuracy": None,
        "r2": metrics.r2_score(y2[200:], predicted),
        "mean_absolute_error": metrics.mean_absolute_error(y2[200:], predicted),
    }
    assert summary["test"] == {k: v and pytest.approx(v, rel=1e-4) for k, v in want.items()}
    assert summary["test"]["r2"] > 0.9
    assert summary["diagnosis"][0].startswith("it learns the training samples")
    assert "20 validation samples are too few to tell" in summary["diagnosis"][0]
    last = load(tmp_path / "run/best.h5").progress.history[-1]
    assert last["validation_r2"] > 0.9
    assert last["train_loss"] > 1e6
    assert last["validation_mean_absolute_error"] > 100


def test_only_free_outputs_of_the_squared_loss_are_scaled(write_data: WriteData) -> None:
    x, y = house_prices()
    path = write_data(train=(x, y))
    for changes, scaled in (
        ([], True),
        (["data.normalize=standardize"], False),
        (["model.layers=[{units=2, activation='sigmoid'}]"], False),
    ):
        run = build_run(two_keys(path, 2, *changes), Alone())
        assert bool(run.feed.scale) is scaled
    # The statistics are those of the training rows, without those that are set aside.
    run = build_run(two_keys(path, 2), Alone())
    rows = run.dataset.splits["train"].targets
    assert len(rows) == 180
    np.testing.assert_allclose(run.feed.scale.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(run.feed.scale.deviation, rows.std(axis=0), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["u1", "f4", "i2"])
def test_the_normalization_goes_by_the_data(write_data: WriteData, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 5)).astype(dtype)
    run = build_run(two_keys(write_data(train=(x, np.arange(40) % 2)), 2), Alone())
    assert run.normalization.kind == ("mean-image" if dtype == "u1" else "standardize")
    assert (run.settings.model.loss, run.feed.scale) == ("softmax", None)


def test_a_resumed_run_keeps_the_loss_and_the_scale_that_it_began_with(
    write_data: WriteData, tmp_path: Path
) -> None:
    path = write_data(train=house_prices())
    rates = ["schedule.kind=constant", "schedule.learning_rate=0.01"]
    whole = train(two_keys(path, 2, *rates), tmp_path / "whole", Alone())
    train(two_keys(path, 2, *rates, "training.epochs=11"), tmp_path / "run", Alone())
    again = train(two_keys(path, 2, *rates), tmp_path / "run", Alone(), resume=True)
    assert again["digest"] == whole["digest"]


def test_the_batch_and_the_rate_go_by_the_data_each_by_itself(write_data: WriteData) -> None:
    """Stating one of them, or Adam, does not change what the data chooses for the other."""
    random = np.random.default_rng(0)
    x, classes = random.normal(size=(2500, 3)), np.arange(2500) % 2
    path = write_data(train=(x, classes))
    numbers = write_data("numbers.h5", train=(x, random.normal(size=(2500, 2))))

    batch, rate = "training.batch_size = 32 for 2,250 training rows", "schedule.learning_rate = "

    def chosen(path: str, *changes: str) -> tuple[Any, float, list[str]]:
        run = build_run(two_keys(path, 2, *changes), Alone())
        settings = run.settings
        return settings.training.batch_size, settings.schedule.learning_rate, list(run.by_the_data)

    both = [batch, f"{rate}0.05 for batches of 32"]
    assert chosen(path) == (32, 0.05, both)
    assert chosen(numbers) == (32, 0.005, [batch, f"{rate}0.005 for batches of 32"])
    assert chosen(path, "schedule.kind=constant") == (32, 0.05, both)
    assert chosen(path, "schedule.learning_rate=0.3") == (32, 0.3, [batch])
    assert chosen(path, "training.batch_size=64") == (64, 0.071, [f"{rate}0.071 for batches of 64"])
    assert chosen(path, "training.batch_size=1000")[:2] == (1000, 0.1)
    assert chosen(path, "training.batch_size=16", "schedule.learning_rate=0.3") == (16, 0.3, [])
    adam = f"{rate}0.0019 for adam on 2,250 training rows"
    assert chosen(path, "optimizer.kind=adam") == (32, 0.0019, [batch, adam])
    assert chosen(path, "optimizer.kind=adam", "schedule.learning_rate=0.1") == (32, 0.1, [batch])
    assert chosen(path, "optimizer.kind=adam", "training.batch_size=9")[:2] == (9, 0.0019)
    # The averaged form at the rate a is the classical one at a(1-β), and Nesterov's form is as it.
    assert chosen(path, "optimizer.form=averaged")[:2] == (32, 0.5)
    assert chosen(path, "optimizer.form=averaged", "optimizer.momentum=0")[:2] == (32, 0.05)
    assert chosen(path, "optimizer.form=nesterov")[:2] == (32, 0.05)
    rates = "schedule={kind='rates', rates=[0.1]}"
    assert chosen(path, rates) == (32, 0.1, [batch])
    assert chosen(path, "training.protocol=batch")[:2] == (None, 0.1)
    few = write_data("few.h5", train=(x[:200], classes[:200]))
    assert chosen(few)[:2] == (16, 0.035)
    assert chosen(few, "optimizer.kind=adamw")[:2] == (16, 0.005)


def test_settings_say_the_rate_of_adam_without_stating_it(tmp_path: Path) -> None:
    settings = two_keys("data.h5", 2, "optimizer.kind=adam")
    assert settings.schedule.learning_rate == 0.001
    assert "learning_rate" not in to_toml(settings, stated=True)
    assert settings.replace(optimizer={"kind": "sgd"}).schedule.learning_rate == 0.1


def test_what_the_data_chose_is_kept_by_a_resumed_run(
    write_data: WriteData, tmp_path: Path
) -> None:
    """Also where an earlier disttrain, or another one later, chooses otherwise."""
    path = write_data(train=house_prices())
    first = two_keys(path, 2, "training.batch_size=40", "schedule.learning_rate=0.02")
    constant = {"kind": "constant", "learning_rate": 0.02}
    whole = train(first.replace(schedule=constant), tmp_path / "whole", Alone())
    short = first.replace(training={"epochs": 7}, schedule=constant)
    train(short, tmp_path / "run", Alone())
    unstated = two_keys(path, 2, "schedule.kind=constant")
    again = train(unstated, tmp_path / "run", Alone(), resume=True)
    assert again["digest"] == whole["digest"]


def test_a_classification_that_states_no_loss_is_resumed(
    write_data: WriteData, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(80, 3))
    path = write_data(train=(x, np.arange(80) % 2))
    constant = "schedule.kind=constant"
    train(two_keys(path, 2, constant, "training.epochs=2"), tmp_path / "run", Alone())
    again = two_keys(path, 2, constant, "training.epochs=4")
    assert train(again, tmp_path / "run", Alone(), resume=True)["epochs"] == 4


def test_networks_for_numbers_begin_with_xavier_unless_a_layer_says_otherwise(
    write_data: WriteData,
) -> None:
    """And go on as they began: a run of before, which began with "he", too."""
    x, y = house_prices()
    layers = (
        "model.layers=[{units=64, activation='relu'}, {units=64, activation='relu'}, {units=2}]"
    )
    numbers = two_keys(write_data(train=(x, y)), 2, layers)
    stated = parse(to_toml(numbers))

    def deviation(settings: Any) -> float:
        run = build_run(settings, Alone())
        assert build_run(parse(to_toml(run.settings)), Alone()).digest() == run.digest()
        return float(run.network.tensors(run.network.values)["dense2/weight"].std())

    assert deviation(numbers) == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert deviation(stated) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    begun = as_begun(numbers, stated.replace(model={"loss": "squared"}))
    assert deviation(begun) == deviation(stated)
    write_data(train=(x, (y[:, 0] > 2e5).astype("i8")))
    assert deviation(numbers) == deviation(stated), "for classes it is he"
