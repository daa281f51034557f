"""The running average of the parameters: its formula, what it leaves alone, and its way to disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import all_checkpoints, load
from disttrain.config import Settings
from disttrain.errors import RunFileError
from disttrain.training import Run, fit
from disttrain.training.trainer import train_step

Make = Callable[..., Settings]
Build = Callable[..., Run]
WAYS = [(), ("reproducibility.mode=fast",), ("optimizer={kind='adam', clip_norm=1.0}",)]


@pytest.mark.parametrize("changes", WAYS, ids=["exact", "fast", "clipped"])
@pytest.mark.parametrize("eager", [False, True])
def test_it_is_the_weighted_mean_of_the_weights_after_each_update(
    build: Build, changes: tuple[str, ...], eager: bool
) -> None:
    run = build("model.average=0.8", "model.dtype=float64", *changes)
    if eager:
        run.recordings.why_not = "the test asks for it"
    weights = []
    for step in range(9):
        train_step(run, step, 0.05)
        weights.append(run.network.values.copy())
        counts = 0.8 ** np.arange(len(weights))[::-1]
        want = counts @ weights / counts.sum()
        np.testing.assert_allclose(run.optimizer.vectors["average"], want, rtol=1e-12, atol=1e-15)
    assert (run.recordings.of(0) is None) == eager


def test_training_does_not_depend_on_it(
    go: Any, settings: Make, metrics: Any, tmp_path: Path
) -> None:
    plain, averaged = go(settings(), "plain"), go(settings("model.average=0.9"), "averaged")
    assert plain["digest"] == averaged["digest"]
    assert "average" not in plain
    own = {"validation_average_loss", "validation_average_accuracy"}
    for one, two in zip(metrics(tmp_path / "plain"), metrics(tmp_path / "averaged"), strict=True):
        assert two.keys() - one.keys() == own
        assert {k: v for k, v in two.items() if k not in own} == one


def test_each_interval_scores_what_the_checkpoint_holds(
    go: Any, settings: Make, build: Build, tmp_path: Path
) -> None:
    summary = go(settings("model.average=0.9", "checkpoint.keep=99"))
    run = build()
    for path in all_checkpoints(tmp_path / "run/checkpoints"):
        snapshot = load(path)
        run.network.load(snapshot.average, run.network.values)
        score = run.score(run.dataset.splits["validation"], "by hand")
        interval = snapshot.progress.history[-1]
        assert interval["validation_average_loss"] == score.loss
        assert interval["validation_average_accuracy"] == score.accuracy
    assert summary["average"]["validation"] == score.facts()
    assert summary["average"]["validation"] != summary["validation"]


def test_resumed_it_is_that_of_the_undisturbed_run(
    go: Any, interrupted: Any, settings: Make, tmp_path: Path
) -> None:
    made = settings("model.average=0.9")
    go(made, "whole")
    interrupted(made, 7)
    go(made, resume=True)
    one, two = (
        load(all_checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "run")
    )
    assert one.average
    assert one.average.keys() == one.parameters.keys()
    for name, tensor in one.average.items():
        np.testing.assert_array_equal(two.average[name], tensor)


def test_a_run_that_had_none_begins_it_where_it_is_resumed(
    interrupted: Any, go: Any, settings: Make, build: Build, tmp_path: Path
) -> None:
    interrupted(settings(), 7)
    with pytest.raises(RunFileError, match=r"model\.average was None"):
        go(settings("model.average=0.9"), resume=True)
    before = load(all_checkpoints(tmp_path / "run/checkpoints")[-1])
    run = build("model.average=0.9")
    run.restore(before)
    np.testing.assert_array_equal(run.optimizer.vectors["average"], run.network.values)
    go(settings("model.average=0.9"), resume=True, accept_changes=True)


def test_the_weights_come_back_where_the_average_can_not_be_scored(
    build: Build,
) -> None:
    run = build("model.average=0.9", "training.epochs=1")
    fit(run)
    before = run.network.values.copy()
    assert run.optimizer.average
    with pytest.raises(ZeroDivisionError), run.optimizer.average.in_place():
        run.network.values[0] = 1 // int((run.network.values == before).all())
    np.testing.assert_array_equal(run.network.values, before)
