import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import all_checkpoints, load
from disttrain.comm.alone import Alone
from disttrain.config import Settings, read
from disttrain.errors import DataError, Divergence, UsageError
from disttrain.runs.folder import RunFolder
from disttrain.runs.held import TEMPORARY
from disttrain.runs.trained import load_trained

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]

HOLD = """
import sys, pathlib
from disttrain.runs.folder import RunFolder
RunFolder(pathlib.Path(sys.argv[1])).claim(resume=True, overwrite=False)
print("mine", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen]:
    """Have another process hold the lock of `folder`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_what_a_run_leaves(tmp_path: Path, settings: Make, go: Go, listen: type) -> None:
    listener, folder = listen(), tmp_path / "run"
    summary = go(settings("checkpoint.keep=2"), callbacks=[listener])
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["status"] == "completed"
    assert (summary["steps"], summary["epochs"], summary["ranks"]) == (28, 4.0, 1)
    # "auto" is exact for this network on a processor.
    as_run = settings(
        "checkpoint.keep=2", "reproducibility.mode=exact", "reproducibility.arithmetic=shared"
    )
    assert read(folder / "run.toml") == as_run
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [7, 14, 21, 28]
    names = [p.name for p in all_checkpoints(folder / "checkpoints")]
    assert names == ["step-00000021.h5", "step-00000028.h5"]
    assert load(folder / "checkpoints/step-00000028.h5").digest == summary["digest"]
    best = min(lines, key=lambda line: line["validation_loss"])
    assert load(folder / "best.h5").step == summary["best_step"] == best["step"]
    assert summary["validation"] == {
        "loss": best["validation_loss"], "accuracy": best["validation_accuracy"],
    }  # fmt: skip
    intervals = [f"interval {s}" for s in (7, 14, 21, 28)]
    assert listener.told == ["start", *intervals, "end completed"]
    assert not list(folder.rglob("*.tmp"))


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path, settings: Make, go: Go) -> None:
    go(settings("training.epochs=1"))
    before = (tmp_path / "run/summary.json").read_bytes()
    with pytest.raises(UsageError, match=r"holds a run.*--resume.*--overwrite.*--output") as caught:
        go(settings("training.epochs=2"))
    assert caught.value.exit_code == 2
    assert (tmp_path / "run/summary.json").read_bytes() == before


def test_overwriting_removes_the_old_run_and_nothing_else(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    go(settings("training.epochs=3"))
    (tmp_path / "run/notes.txt").write_text("mine")
    summary = go(settings("training.epochs=1"), overwrite=True)
    assert summary["steps"] == 7
    assert [p.name for p in all_checkpoints(tmp_path / "run/checkpoints")] == ["step-00000007.h5"]
    assert (tmp_path / "run/notes.txt").read_text() == "mine"


def test_a_refused_folder_can_be_used_in_the_same_process(settings: Make, go: Go) -> None:
    """A script that catches the refusal and asks again, as a notebook does."""
    go(settings("training.epochs=1"))
    with pytest.raises(UsageError, match="holds a run"):
        go(settings("training.epochs=1"))
    assert go(settings("training.epochs=1"), overwrite=True)["status"] == "completed"


def test_a_folder_in_use_is_refused_until_its_process_dies(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    with held(tmp_path / "run") as process:
        for more in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(UsageError, match="in use by another run"):
                go(settings("training.epochs=1"), **more)
        process.kill()
        process.wait()
        assert go(settings("training.epochs=1"))["status"] == "completed"


def test_a_folder_that_can_not_be_made_is_a_usage_error(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be used.*--output"):
        go(settings(), "file/run")


def test_a_divergence_is_written_down(tmp_path: Path, settings: Make, go: Go) -> None:
    with np.errstate(all="ignore"), pytest.raises(Divergence):
        go(settings("model.loss=squared", "schedule.learning_rate=1e6", "training.epochs=20",
                    'model.layers=[{units=3, activation="relu"}, {units=3}]'))  # fmt: skip
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "diverged"
    assert "learning_rate" in summary["failures"][0]


def test_a_test_loss_that_is_not_finite_is_a_divergence_too(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    """Training and validation went well; the summary must not hold what JSON has no word for."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    path = write_data("far.h5", train=(x, x[:, :1]), test=(x, np.full((60, 1), 1e300)))
    made = settings(f"data.path={path}", "model.layers=[{units=1}]", "model.loss=squared",
                    "model.dtype=float64")  # fmt: skip
    with pytest.raises(Divergence, match="the test loss of the best weights is inf"):
        go(made)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["status"], summary["test"]) == ("diverged", None)
    with pytest.raises(Divergence, match="look for wild numbers in the data"):
        load_trained(tmp_path / "run", Alone()).evaluate()
    # The digest is that of the training, not of the best weights.
    last = max((tmp_path / "run/checkpoints").glob("step-*.h5"))
    assert summary["digest"] == load(last).digest


def test_data_that_can_not_be_used_are_written_down_and_block_nothing(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    with pytest.raises(DataError):
        go(settings("data.path=no.h5"))
    assert '"status": "failed"' in (tmp_path / "run/summary.json").read_text()
    assert go(settings("training.epochs=1"))["status"] == "completed"


def test_data_without_training_rows_are_a_data_error(
    settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    path = write_data("test.h5", test=(np.zeros((6, 4)), np.arange(6) % 3))
    with pytest.raises(DataError, match="train"):
        go(settings(f"data.path={path}"))


@pytest.mark.parametrize("place", ["best.h5", "summary.json", "checkpoints/step-00000003.h5"])
def test_what_a_killed_run_left_half_written_is_removed(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, place: str
) -> None:
    interrupted(settings(), 3)
    path = tmp_path / "run" / place
    stray = path.with_name(f".{path.name}.123.tmp")
    stray.write_bytes(b"half")
    go(settings(), resume=True)
    assert not stray.exists()


def test_a_run_that_is_asked_to_stop_says_how_to_go_on(tmp_path, monkeypatch):
    said = RunFolder(tmp_path / "my runs" / "a").on_stop
    assert f"`disttrain train '{tmp_path}/my runs/a' --resume` goes on" in said
    assert "--resume`" not in RunFolder(tmp_path / f"{TEMPORARY}x").on_stop
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    said = RunFolder(tmp_path / "a").on_stop
    assert f"`disttrain launch -n 3 train {tmp_path}/a --resume` goes on" in said
    monkeypatch.setenv("DISTTRAIN_SPARES", "1")
    said = RunFolder(tmp_path / "a").on_stop
    assert f"`disttrain launch -n 2 --spares 1 train {tmp_path}/a --resume` goes on" in said
