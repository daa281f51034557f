from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import all_checkpoints, load, write_atomically
from disttrain.config import Settings
from disttrain.errors import CheckpointError, Preempted, RunFileError

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
Metrics = Callable[[Path], list[dict[str, Any]]]

# Validation in the middle of epochs and between checkpoints, so that every sum is under way.
CHANGES = ["training.epochs=2", "validation.every_steps=3", "checkpoint.every_steps=5"]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("at", [0, 1, 2, 4, 6, 7, 12])
def test_stopped_and_resumed_is_the_same_run(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, metrics: Metrics, at: int
) -> None:
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), at, "parts")
    assert load(all_checkpoints(tmp_path / "parts/checkpoints")[-1]).step == at + 1
    parts = go(settings(*CHANGES), "parts", resume=True)
    for key in ("status", "steps", "epochs", "best_step", "validation", "test", "digest"):
        assert parts[key] == whole[key], key
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_stopped_three_times_is_the_same_run(
    settings: Make, go: Go, interrupted: Go, tmp_path: Path, metrics: Metrics
) -> None:
    whole = go(settings(*CHANGES), "whole")
    for number, at in enumerate((2, 3, 10)):
        interrupted(settings(*CHANGES), at, "parts", resume=number > 0)
    assert go(settings(*CHANGES), "parts", resume=True)["digest"] == whole["digest"]
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_dropout_leaves_out_the_same_units_after_a_stop(
    settings: Make, go: Go, interrupted: Go
) -> None:
    layers = "model.layers=[{units=9, activation='relu', dropout=0.4}, {units=3}]"
    whole = go(settings(*CHANGES, layers), "whole")
    interrupted(settings(*CHANGES, layers), 4, "parts")
    assert go(settings(*CHANGES, layers), "parts", resume=True)["digest"] == whole["digest"]


def test_early_stopping_goes_on_counting(settings: Make, go: Go, interrupted: Go) -> None:
    changes = ["training.epochs=100", "validation.patience=3", "schedule.learning_rate=1.0"]
    whole = go(settings(*changes), "whole")
    assert whole["status"] == "stopped-early"
    interrupted(settings(*changes), whole["steps"] - 4, "parts")
    parts = go(settings(*changes), "parts", resume=True)
    for key in ("status", "steps", "best_step", "digest", "validation", "test"):
        assert parts[key] == whole[key], key


def test_being_asked_to_stop_is_75_and_the_summary_says_so(
    tmp_path: Path, settings: Make, go: Go, listen: type
) -> None:
    with pytest.raises(Preempted, match=r"after step 4 of 28.*--resume") as caught:
        go(settings(), callbacks=[listen(3)])
    assert caught.value.exit_code == 75
    summary = (tmp_path / "run/summary.json").read_text()
    assert '"status": "preempted"' in summary


def test_being_asked_in_the_last_step_ends_the_run_as_usual(
    settings: Make, go: Go, listen: type
) -> None:
    assert go(settings("training.epochs=1"), callbacks=[listen(6)])["status"] == "completed"


@pytest.mark.parametrize("status", ["completed", "stopped-early"])
def test_resuming_a_finished_run_changes_nothing(
    tmp_path: Path, settings: Make, go: Go, listen: type, status: str
) -> None:
    early = ["training.epochs=99", "validation.patience=1", "schedule.learning_rate=1.0"]
    made = settings(*(early if status == "stopped-early" else ["training.epochs=1"]))
    summary = go(made)
    assert summary["status"] == status
    before = bytes_of(tmp_path / "run")
    for _ in range(2):
        listener = listen()
        assert go(made, resume=True, callbacks=[listener]) == summary
        assert any("finished" in line for line in listener.messages)
        assert listener.steps == []
    assert bytes_of(tmp_path / "run") == before


def test_more_epochs_go_on_from_a_finished_run(settings: Make, go: Go) -> None:
    go(settings("training.epochs=1"), "parts")
    parts = go(settings("training.epochs=3"), "parts", resume=True)
    assert parts["epochs"] == 3
    assert parts["digest"] == go(settings("training.epochs=3"), "whole")["digest"]


def test_nothing_to_resume_from_begins_and_says_so(settings: Make, go: Go, listen: type) -> None:
    listener = listen()
    summary = go(settings("training.epochs=1"), resume=True, callbacks=[listener])
    assert summary["status"] == "completed"
    assert listener.steps[0] == 0
    assert any("starting from the beginning" in line for line in listener.messages)


def test_a_torn_checkpoint_is_passed_over(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), 7, "parts")
    *_, before, newest = all_checkpoints(tmp_path / "parts/checkpoints")
    newest.write_bytes(newest.read_bytes()[:-10])
    listener = listen()
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    assert before.name == f"step-{listener.steps[0]:08d}.h5"
    assert any(newest.name in line for line in listener.messages)
    assert parts["digest"] == whole["digest"]


@pytest.mark.parametrize(
    "change",
    ["training.batch_size=8", "schedule.learning_rate=0.1", "seed=2", "model.dtype=float64",
     "optimizer.momentum=0.5", "data.normalize=none", "data.block_rows=4"],
)  # fmt: skip
def test_a_change_that_makes_another_run_is_refused(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, change: str
) -> None:
    interrupted(settings(), 3)
    before = bytes_of(tmp_path / "run")
    key = change.partition("=")[0]
    with pytest.raises(RunFileError, match=f"{key} was .* when this run began"):
        go(settings(change), resume=True)
    assert bytes_of(tmp_path / "run") == before
    assert go(settings(), resume=True)["status"] == "completed"


def test_a_change_that_makes_no_difference_is_announced(
    settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    interrupted(settings(), 3)
    listener = listen()
    go(settings("training.epochs=2", "checkpoint.keep=1"), resume=True, callbacks=[listener])
    assert "resuming with training.epochs = 2 (was 4)" in listener.messages
    assert "resuming with checkpoint.keep = 1 (was 3)" in listener.messages


def test_more_epochs_of_a_cosine_schedule_are_another_run(
    settings: Make, go: Go, interrupted: Go
) -> None:
    """Its rates depend on the number of all steps: the first ones would have been others."""
    interrupted(settings("schedule.kind=cosine"), 3)
    with pytest.raises(RunFileError, match=r"training\.epochs was 4"):
        go(settings("schedule.kind=cosine", "training.epochs=8"), resume=True)


def test_best_weights_that_are_gone_are_looked_for_anew(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    whole = go(settings(), "whole")
    interrupted(settings(), 15)
    (tmp_path / "run/best.h5").unlink()
    listener = listen()
    summary = go(settings(), resume=True, callbacks=[listener])
    assert summary["digest"] == whole["digest"]
    assert any("best.h5" in line for line in listener.messages)


def test_a_full_disk_ends_the_run_and_the_last_checkpoint_stays(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []

    def full(*args: Any) -> None:
        if len(saved) == 2:
            raise CheckpointError("disk full")
        saved.append(args)
        write_atomically(*args)

    monkeypatch.setattr("disttrain.runs.saving.write_atomically", full)
    with pytest.raises(CheckpointError):
        go(settings())
    assert '"status": "failed"' in (tmp_path / "run/summary.json").read_text()
    monkeypatch.undo()
    assert go(settings(), resume=True)["digest"] == go(settings(), "whole")["digest"]
