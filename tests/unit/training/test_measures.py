"""Metrics of one's own, the best by any number, and what a callback may not call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.errors import DisttrainError, RankFailure, RunFileError, UsageError
from disttrain.training import Callback, Run, fit

Build = Callable[..., Run]


def rows_right(predictions: np.ndarray, targets: np.ndarray) -> float:
    return int((predictions.argmax(axis=1) == targets).sum())


def test_a_metric_sees_all_predictions_and_targets(build: Build) -> None:
    run = build("training.epochs=2", metrics=[rows_right])
    fit(run)
    count = run.dataset.splits["validation"].count
    for interval in run.state.history:
        want = round(interval["validation_accuracy"] * count)
        assert interval["validation_rows_right"] == want


@pytest.mark.parametrize(("direction", "best"), [("max", 6), ("min", 4), ("auto", 6)])
def test_the_best_weights_are_those_of_the_metric(build: Build, direction: str, best: int) -> None:
    values = iter([3.0, 2.0, 5.0, 1.0, 4.0, 9.0, 2.0, 8.0])
    run = build("training.epochs=8", "validation.best=mine", f"validation.direction={direction}",
                metrics={"mine": lambda predictions, targets: next(values)})  # fmt: skip
    fit(run)
    assert run.state.best_step == best * run.steps_per_epoch
    assert run.state.best_loss == run.state.history[best - 1]["validation_mine"]


def test_patience_goes_by_the_accuracy(build: Build) -> None:
    """The blobs are learned at once: the accuracy is 1 and stays, and the loss goes on falling."""
    changes = ["training.epochs=30", "validation.patience=3"]
    run = build(*changes, "validation.best=accuracy", "schedule.learning_rate=0.1")
    fit(run)
    accuracies = [interval["validation_accuracy"] for interval in run.state.history]
    assert run.state.reason == "patience"
    assert len(accuracies) == accuracies.index(max(accuracies)) + 4
    other = build(*changes, "schedule.learning_rate=0.1")
    fit(other)
    assert len(other.state.history) > len(accuracies)


def test_an_unknown_best_is_refused_before_training(build: Build) -> None:
    with pytest.raises(RunFileError, match=r"can be loss, accuracy, rows_right, .*metrics=\["):
        build("validation.best=f1", metrics=[rows_right])


def test_what_is_no_metric_is_refused(build: Build) -> None:
    with pytest.raises(UsageError, match="metrics has 'loss'"):
        build(metrics={"loss": rows_right})
    with pytest.raises(UsageError, match="the metric odd returned nan, not a finite number"):
        fit(build(metrics={"odd": lambda predictions, targets: float("nan")}))


def broken(predictions: Any, targets: Any) -> float:
    return 1 / len(targets[:0])


def test_an_error_in_a_metric_names_it_and_its_line(build: Build) -> None:
    with pytest.raises(DisttrainError) as caught:
        fit(build(metrics=[broken]))
    assert str(caught.value) == (
        "the metric broken raised ZeroDivisionError: division by zero in "
        f"{__file__}, line {broken.__code__.co_firstlineno + 1}"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("when", ["on_step", "on_interval", "on_start", "on_end"])
def test_a_collective_in_a_callback_is_refused_at_once(
    settings: Callable[..., Any], when: str, tmp_path: Any
) -> None:
    class Scores(Callback):
        pass

    def score(self: Callback, run: Run, *more: Any) -> None:
        run.score(run.dataset.splits["validation"], "mine")

    setattr(Scores, when, score)
    with pytest.raises((UsageError, RankFailure), match=r"rank 0 alone.*metrics="):
        disttrain.train(settings(), tmp_path / "run", callbacks=[Scores()])
