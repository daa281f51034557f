"""A network with layers and a loss of a user's own, on the command line by `--layers`."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import disttrain
from disttrain.cli import app
from disttrain.data.writer import write_data_file
from tests.conftest import blobs

MODULE = '''
import numpy as np
import disttrain

class Leaky(disttrain.Layer):
    """Has no parameters: nothing in a checkpoint but its name tells of it."""

    kind = "leaky"
    rowwise = True

    def outputs(self, shape):
        return shape

    def parameters(self, shape):
        return {}

    def forward(self, x, ctx):
        slope = np.where(x > 0, 1, 0.1).astype(x.dtype)
        return x * slope, lambda dh: dh * slope

class Twice(disttrain.Softmax):
    kind = "twice"

def build():
    return [disttrain.Dense(8), Leaky(), disttrain.Dense(3)], Twice()

def bad():
    return "layers"

def worse():
    raise OSError("no such place")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of layers and a run that was trained with them by a script."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_data_file("data.h5", {"train": blobs(90, 1), "test": blobs(30, 2)})
    layers, loss = importlib.import_module("mine").build()
    disttrain.train("data.h5", "out", layers=layers, loss=loss, epochs=4, batch_size=16)
    sys.path.remove(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mine", None)


def call(*words: object) -> Any:
    return app([str(word) for word in words], prog_name="disttrain", standalone_mode=False)


def test_evaluate_predict_and_draw_with_the_layers_that_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("evaluate", "out", "--layers", "mine:build", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == json.loads((folder / "out/summary.json").read_text())["test"][
        "accuracy"
    ]  # fmt: skip
    call("predict", "out", "data.h5", "--layers", "mine.py:build", "--json")
    assert len(json.loads(capsys.readouterr().out)["outputs"]) == 30
    call("draw", "out", "--layers", "mine:build", "-o", "network.svg")
    assert (folder / "network.svg").stat().st_size


def test_check_verify_and_plot_with_the_layers_that_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "run.toml").write_text("data.path = 'data.h5'\nmodel.layers = [{ units = 1 }]\n")
    call("check", "run.toml", "--layers", "mine:build", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in facts["layers"]] == ["dense1", "leaky2", "dense3"]
    call("verify", "out", "--from", "0", "--layers", "mine:build", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["whole"], facts["compared"][-1] > 0) == (True, True)
    with pytest.raises(disttrain.CheckpointError, match=r"layers of a script \(mine\.Leaky\)"):
        call("verify", "out", "--from", "0")
    pytest.importorskip("matplotlib")
    (folder / "out/confusion.png").unlink(missing_ok=True)
    call("plot", "out", "--layers", "mine:build")
    assert (folder / "out/confusion.png").stat().st_size


def test_training_by_a_run_file_and_going_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "run.toml").write_text(
        "data.path = 'data.h5'\nmodel.layers = [{ units = 1 }]\n"
        "training = { epochs = 4, batch_size = 16 }\n"
    )
    call("train", "run.toml", "-q", "--output", "new", "--layers", "mine:build")
    digests = [json.loads((folder / f"{n}/summary.json").read_text())["digest"]
               for n in ("out", "new")]  # fmt: skip
    assert digests[0] == digests[1], "a script and a command train the same"
    (folder / "new/summary.json").unlink()
    more = ("--set", "training.epochs=5", "--accept-changes")
    with pytest.raises(disttrain.CheckpointError, match=r"layers of a script \(mine\.Leaky\)"):
        call("train", "new", "--resume", "-q", *more)
    call("train", "new", "--resume", "-q", *more, "--layers", "mine:build")
    assert json.loads((folder / "new/summary.json").read_text())["epochs"] == 5


def test_every_command_takes_them_and_the_run_file_needs_no_layers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    text = "data.path = 'data.h5'\ntraining = { epochs = 6, batch_size = 4 }\n"
    (folder / "bare.toml").write_text(text)
    own = ("--layers", "mine:build")
    call("check", "bare.toml", *own, "--overfit", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert [check["ok"] for check in facts["checks"]] == [True] * 4
    assert facts["warnings"] == [], "nothing is known of the activations of layers of one's own"
    call("cross-validate", "bare.toml", *own, "--folds", "2", "--final", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["mean"] is not None
    assert found["final"]["status"] == "completed"
    call("ensemble", "bare.toml", *own, "--members", "2", "--json")
    score = json.loads(capsys.readouterr().out)["ensemble"]
    call("evaluate", "runs/bare-ensemble", *own, "--json")
    assert json.loads(capsys.readouterr().out)["loss"] == score["loss"]
    call("report", "out", *own)
    assert "layers of a script" not in (folder / "out/report.html").read_text()
    call("report", "out")
    assert "layers of a script" in (folder / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (None, r"trained with layers of a script \(mine\.Leaky\).*--layers MODULE:FUNCTION"),
        ("mine", "write it as MODULE:FUNCTION"),
        ("mine:biuld", "mine has no biuld: is build meant"),
        ("nothing_there:build", "No module named 'nothing_there'"),
        ("mine:bad", "must return a list of layers"),
        ("mine:worse", "OSError: no such place"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, named: str | None, words: str) -> None:
    with pytest.raises(disttrain.DisttrainError, match=words) as caught:
        call("evaluate", "out", *(["--layers", named] if named else []))
    assert caught.value.exit_code == (2 if named else 3)
