"""Stopped after any step and resumed: the run that was never stopped, in every bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import all_checkpoints, load
from disttrain.config import Settings
from disttrain.training.integrity.chain import broken_at

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]

# 99 rows in batches of 24: 5 steps an epoch. Validation, checkpoints and epochs end at different
# steps, and at common ones.
BASE = ["training.epochs=2", "training.batch_size=24", "validation.every_steps=3",
        "checkpoint.every_steps=4", "data.normalize=standardize"]  # fmt: skip
STEPS = 10
DROPOUT = "model.layers=[{units=9, activation='relu', dropout=0.4}, {units=3}]"
WAYS = {
    "fast": [],
    "leaves": ["reproducibility.mode=exact", "reproducibility.arithmetic=leaves"],
    "shared": ["reproducibility.mode=exact", "reproducibility.arithmetic=shared"],
}
CHANGES = {
    "dropout": [DROPOUT, "model.input_dropout=0.1", "schedule.kind=cosine"],
    "exponential": ["schedule.kind=exponential", "optimizer.form=nesterov"],
    "step": ["schedule.kind=step", "schedule.every_epochs=1", "data.normalize=mean-image"],
    "inverse-time": ["schedule.kind=inverse-time", "optimizer.form=averaged"],
    "warm-up": ["schedule.warmup_epochs=1", "validation.every_epochs=1", "data.memory=stream"],
    "patience": ["validation.patience=2", "validation.every_steps=1", "training.epochs=4",
                 "schedule.learning_rate=2.0"],
    "rounded epochs": ["validation.every_epochs=2", "checkpoint.every_epochs=2"],
}  # fmt: skip
OFTEN = (("dropout", "leaves"), ("patience", "shared"))
KEYS = ("status", "reason", "steps", "epochs", "best_step", "validation", "test", "digest",
        "failures", "changes")  # fmt: skip


def lines(path: Path, *without: str) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in one.items() if k not in without} for one in found]


def check_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compare two finished runs in `parts` and `whole`: all but what the clock says."""
    for key in KEYS:
        assert found[key] == wanted[key], key
    clock = ("seconds", "samples_per_second")
    metrics = [lines(folder / name / "metrics.jsonl", *clock) for name in ("parts", "whole")]
    assert metrics[0] == metrics[1]
    digests = [lines(folder / name / "digests.jsonl") for name in ("parts", "whole")]
    assert digests[0] == digests[1]
    assert broken_at(digests[0]) is None
    best = [folder / name / "best.h5" for name in ("parts", "whole")]
    assert load(best[0]).digest == load(best[1]).digest
    assert load(best[0]).step == wanted["best_step"]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=[] if (name, way) in OFTEN else pytest.mark.long)
        for name in CHANGES
        for way in WAYS
    ],
)
def test_after_every_step(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, name: str, way: str
) -> None:
    made = settings(*BASE, *WAYS[way], *CHANGES[name])
    whole = go(made, "whole")
    assert whole["steps"] == STEPS if name != "patience" else whole["reason"] == "patience"
    for at in range(whole["steps"] - 1):
        interrupted(made, at, "parts", overwrite=True)
        assert load(all_checkpoints(tmp_path / "parts/checkpoints")[-1]).step == at + 1
        check_same(tmp_path, go(made, "parts", resume=True), whole)


@pytest.mark.parametrize("way", WAYS)
def test_after_each_step_once(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, way: str
) -> None:
    """A run that never gets further than one step."""
    made = settings(*BASE, *WAYS[way], *CHANGES["dropout"])
    whole = go(made, "whole")
    seen = []
    for at in range(STEPS - 1):
        seen += interrupted(made, at, "parts", resume=at > 0).steps
    check_same(tmp_path, go(made, "parts", resume=True), whole)
    assert seen == list(range(STEPS - 1)), "no step is done twice"


@pytest.mark.parametrize("name", CHANGES)
def test_in_the_middle_of_an_epoch(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, name: str
) -> None:
    made = settings(*BASE, *WAYS["shared"], *CHANGES[name])
    whole = go(made, "whole")
    interrupted(made, 1, "parts")
    interrupted(made, 4, "parts", resume=True)
    check_same(tmp_path, go(made, "parts", resume=True), whole)
