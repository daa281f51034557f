"""`disttrain check --overfit` and `--rates`, alone and on two ranks."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from tests.cli.shell import TRAINING, sentence

LAUNCH = ("launch", "-n", 2)
NAMES = ["initial loss", "units", "gradients", "overfit"]
STANDARD = ("--set", "data.normalize=standardize")
LONG = ("--set", "training.epochs=40")


@pytest.mark.parametrize("launch", [(), pytest.param(LAUNCH, marks=pytest.mark.long)])
def test_a_sound_run_file_passes(shell, launch):
    result = shell.run(*launch, "check", "run.toml", "--overfit", *STANDARD, *LONG)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line[2:18].strip() for line in lines if line.endswith("  ok")] == NAMES
    assert "NOT" not in result.stdout
    assert lines[-1] == "ready to train"


def test_what_was_not_stated_and_few_updates_are_told_before_the_training(shell):
    """And, of what was not stated, again at the start of the training."""
    path = next(line for line in TRAINING.splitlines() if line.startswith("path"))
    run = shell.run_file(f"[data]\n{path}\n[model]\nlayers = [3]\n", "two-keys.toml")
    result = shell.run("check", run, "--set", "training.epochs=2")
    assert "  not stated, so chosen: training.batch_size = 16 for " in result.stdout
    assert " training rows, schedule.learning_rate = 0.035 for batches of 16\n" in result.stdout
    assert "warning: few updates: 16 rows a batch are " in result.stdout
    assert result.stdout.endswith("ready to train, with a warning\n")
    rate = ("--set", "schedule.learning_rate=0.02")
    result = shell.run("train", run, *rate, "--set", "training.epochs=2")
    assert "\nnot stated, so chosen: training.batch_size = 16 for " in result.stdout
    assert "global batch 16, " in result.stdout
    assert "schedule.learning_rate =" not in result.stdout
    result = shell.run("train", run, *rate, "--resume", *LONG, "--accept-changes")
    assert "not stated" not in result.stdout
    assert "global batch 16, " in result.stdout


def test_a_large_rate_for_sgd_is_a_warning(shell):
    for rate, momentum, warned in ((2, 0.9, True), (0.5, 0.9, False), (2, 0.0, False)):
        keys = (f"schedule.learning_rate={rate}", "--set", f"optimizer.momentum={momentum}")
        result = shell.run("check", "run.toml", *STANDARD, "--set", *keys)
        assert result.returncode == 0, result.stderr
        assert ("warning: schedule.learning_rate = 2 is large for" in result.stdout) is warned


def test_a_large_rate_for_adam_is_a_warning(shell):
    adam = ("--set", "optimizer.kind=adam", "--set")
    for rate, warned in ((0.01, True), (0.009, False)):
        result = shell.run("check", "run.toml", *STANDARD, *adam, f"schedule.learning_rate={rate}")
        assert result.returncode == 0, result.stderr
        assert ("warning: schedule.learning_rate = 0.01 is large for" in result.stdout) is warned
        assert "weights, gradients, first moment, second moment" in result.stdout


def test_an_activation_behind_which_softmax_stands_is_a_warning(shell):
    for last, warned in (('{units=3,activation="relu"}', True), ("3", False)):
        layers = f'model.layers=[{{units=8,activation="relu"}},{last}]'
        result = shell.run("check", "run.toml", *STANDARD, "--set", layers)
        assert result.returncode == 0, result.stderr
        assert ("warning: the last layer has activation" in result.stdout) is warned


def test_a_hidden_layer_without_activation_is_a_warning(shell):
    for layers, warned in (("[8,3]", True), ('[{units=8,activation="identity"},3]', False)):
        result = shell.run("check", "run.toml", *STANDARD, "--set", f"model.layers={layers}")
        assert result.returncode == 0, result.stderr
        assert ("warning: a hidden layer has no activation" in result.stdout) is warned


def test_everything_in_one_object_on_two_ranks(shell):
    found = []
    for launch in ((), LAUNCH):
        command = ("check", "run.toml", "--overfit", "--rates", "--json", *STANDARD)
        result = shell.run(*launch, *command)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("\n") == 1
        found.append(json.loads(result.stdout))
    alone, two = found
    assert [check["name"] for check in alone["checks"]] == NAMES
    assert alone["checks"] == two["checks"]
    assert alone["valid"] is True
    points, others = alone["rates"]["points"], two["rates"]["points"]
    assert set(points[0]) == {"rate", "loss", "smoothed"}
    # Where a training is stable, ranks differ by rounding only.
    half = len(points) // 2
    assert [p["loss"] for p in points[:half]] == pytest.approx(
        [p["loss"] for p in others[:half]], rel=1e-3
    )
    assert alone["rates"]["steepest"] < alone["rates"]["largest_stable"]


@pytest.mark.parametrize("launch", [(), LAUNCH])
def test_what_can_not_be_learned_is_refused_in_one_sentence(shell, launch):
    with h5py.File(shell.folder / "same.h5", "w") as file:
        file.attrs.update(format="disttrain-data", version=1)
        file["train/inputs"] = np.ones((40, 5), "f4")
        file["train/targets"] = np.arange(40) % 3
    result = shell.run(*launch, "check", "run.toml", "--overfit", "--set", "data.path=same.h5")
    said = sentence(result, 2)
    assert said.startswith("1 of 4 sanity checks did not pass: overfit;")
    assert "  NOT\n" in result.stdout
    assert "equal inputs with different targets" in result.stdout
    assert "ready to train" not in result.stdout


def test_the_table_of_rates(shell):
    result = shell.run("check", "run.toml", "--rates", "1e-4:100", *STANDARD)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    first = next(n for n, line in enumerate(lines) if line.split() == ["rate", "loss", "smoothed"])
    last = next(n for n, line in enumerate(lines) if line.startswith("the loss falls most steeply"))
    assert 10 <= last - first <= 18
    assert lines[first + 2].split()[0] == "0.0001"
    assert lines[last + 1].startswith("take schedule.learning_rate = ")
    assert "the largest stable rate" in lines[last]
    # The suggestion is a run file's number.
    rate = lines[last + 1].removeprefix("take schedule.learning_rate = ").split(",")[0]
    short = shell.run_file(TRAINING.replace("epochs = 3", "epochs = 1"), "short.toml")
    result = shell.run("train", short, "--set", f"schedule.learning_rate={rate}", *STANDARD)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rates", "1:0.1"), "write LOW:HIGH"),
        (("--rates", "fast"), "write LOW:HIGH"),
        (("1e-3:1",), "is for --rates only"),
    ],
)
def test_mistakes_in_the_range(shell, arguments, words):
    assert words in sentence(shell.run("check", "run.toml", *arguments), 2)


def test_a_plain_check_trains_nothing(shell):
    result = shell.run("check", "run.toml")
    assert result.returncode == 0
    assert "ok" not in result.stdout.split()
    assert "rates" not in json.loads(shell.run("check", "run.toml", "--json").stdout)
