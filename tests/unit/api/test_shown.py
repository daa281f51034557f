"""What a person at a notebook or a terminal sees: short names of objects, settings, progress."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.api import notebook
from tests.conftest import blobs

X, Y = blobs(60, 1)
KEYS: dict[str, Any] = {"layers": [8, 3], "epochs": 2, "batch_size": 16}


def test_objects_are_shown_in_one_short_line(tmp_path: Path) -> None:
    data = disttrain.Data(X, Y, test=(X[:9], Y[:9]))
    assert repr(data) == "<Data train: 60 x 4, test: 9 x 4>"
    model = disttrain.train(data, tmp_path / "out", **KEYS)
    best = model.snapshot.step
    path = tmp_path / "out" / "best.h5"
    assert repr(model) == f"<Trained 4-8-3, softmax, after step {best}: {path}>"
    run = disttrain.build(tmp_path / "out" / "run.toml")
    assert repr(run) == "<Run run: 4-8-3, softmax, step 0 of 8, ranks: 1>"
    layers = [disttrain.Dense(16, "tanh"), disttrain.MaxPool(), disttrain.Dropout(0.5)]
    assert repr(layers) == "[Dense(units=16, activation='tanh'), MaxPool(), Dropout(rate=0.5)]"
    score = model.evaluate()
    assert repr(score) == f"Score(loss={score.loss:.6g}, accuracy={score.accuracy:.6g})"
    assert disttrain.load(tmp_path / "out").class_names == ("0", "1", "2")


def test_numbers_have_no_accuracy_and_no_class_names() -> None:
    model = disttrain.train(disttrain.Data(X, X[:, 0]), **KEYS | {"layers": [1]})
    assert model.class_names == ()
    score = repr(model.evaluate(X, X[:, 0]))
    assert "accuracy" not in score
    assert ", r2=" in score


def test_classes_are_named_as_the_columns_of_predictions() -> None:
    names = np.array(["cat", "ant", "bee"])[Y]
    assert disttrain.train(disttrain.Data(X, names), **KEYS).class_names == ("ant", "bee", "cat")


def test_settings_from_keywords_and_changed_by_keywords(tmp_path: Path) -> None:
    made = disttrain.settings("data.h5", layers=[disttrain.Dense(5, "tanh"), 2], epochs=3)
    assert Path(made.data.path) == Path("data.h5").absolute()
    assert [layer.units for layer in made.model.layers] == [5, 2]
    changed = disttrain.settings(made, optimizer="adam", seed=4)
    assert (changed.optimizer.kind, changed.seed, changed.training.epochs) == ("adam", 4, 3)
    assert made.seed == 1
    (tmp_path / "run.toml").write_text("data.path = 'd.h5'\nmodel.layers = [{ units = 2 }]\n")
    assert disttrain.settings(tmp_path / "run.toml", epochs=7).training.epochs == 7
    for mistake in ({"epoch": 3}, {"epochs": "3"}, {"learning_rate": -1.0}):
        with pytest.raises(disttrain.RunFileError) as caught:
            disttrain.settings(made, **mistake)
        assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(("progress", "lines"), [(None, 0), (False, 0), (True, 2)])
def test_a_script_prints_only_what_it_asks_for(
    progress: bool | None, lines: int, capfd: pytest.CaptureFixture[str]
) -> None:
    disttrain.train(disttrain.Data(X, Y), progress=progress, **KEYS)
    out = capfd.readouterr().out
    assert sum(line.startswith("epoch ") for line in out.splitlines()) == lines
    assert "model:" not in out, "a temporary folder is no place to name"


class Handle:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, content: dict[str, str], raw: bool) -> None:
        assert raw
        self.lines.append(content["text/plain"])


def test_a_notebook_has_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handle, ipython, shown = Handle(), ModuleType("IPython"), ModuleType("IPython.display")
    kernel = type("Shell", (), {"kernel": object()})()
    ipython.get_ipython = lambda: kernel  # type: ignore[attr-defined]
    shown.display = lambda *given, **how: handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    assert notebook.in_notebook()
    disttrain.train(disttrain.Data(X, Y), **KEYS)
    assert "epoch   2.00/2" in capsys.readouterr().out
    assert handle.lines[-1] == "", "the line is taken away at the end"
    bar = notebook.Notebook()
    bar.start()
    bar.add_task("", total=40)
    bar.update(0, completed=10, epoch=0.25, speed="7 samples/s")
    assert handle.lines[-1] == f"epoch  0.25 {'█' * 8}{'░' * 22}  25 %  7 samples/s"


def test_no_notebook_in_a_terminal_of_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not notebook.in_notebook()


def test_rows_may_be_lists_of_whole_numbers() -> None:
    model = disttrain.train(disttrain.Data(np.round(X * 4), Y), **KEYS)
    assert model.predict([[1, 2, 3, 4]]).shape == (1, 3)
    with pytest.raises(disttrain.DataError, match=r"one sample of 4 numbers.*in brackets, \[x\]"):
        model.predict([1, 2, 3, 4])
