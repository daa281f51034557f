"""What a report holds, of each kind; that it is escaped, small, and loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.errors import CheckpointError, UsageError
from disttrain.report.confusion import matrix
from disttrain.report.write import write_report

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
HOSTILE = '<script>alert("1")</script>&<img src=x onerror=alert(2)>'


class Reader(HTMLParser):
    """Collects tags, texts, names and what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.loads.append(value or "")
            assert not name.startswith("on"), (tag, name)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    """Return a page, after what holds for all: small, self-contained, without a script."""
    assert path.name == "report.html"
    assert path.stat().st_size < 2_000_000
    text = path.read_text()
    page = Reader(text)
    assert "script" not in page.tags
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    assert len(page.ids) == len(set(page.ids))
    assert {load[1:] for load in page.loads if load.startswith("#")} <= {*page.ids, "main"}
    assert not re.search(r"url\((?!#)", text)
    return page


def test_of_a_run_of_images(runs: Any) -> None:
    folder = runs("images", "{ units = 3 }")
    page = read(write_report([folder]))
    summary = json.loads((folder / "summary.json").read_text())
    for section in ("Scores", "Curves", "Classes", "wrong", "Confusion", "Weights", "Ranks",
                    "Environment", "Run file", "Digest"):  # fmt: skip
        assert section in page.text
    assert summary["digest"] in page.text
    assert f"{100 * summary['test']['accuracy']:.2f} %" in page.text
    assert (folder / "run.toml").read_text().strip() in page.text
    assert page.tags.count("img") >= 5, "samples as pictures"
    assert page.tags.count("svg") == 5, "three curves, confusion, weights"


def test_of_a_run_of_two_inputs_and_of_numbers(runs: Any, tmp_path: Path) -> None:
    page = read(write_report([runs("classes")], tmp_path))
    assert "Decision regions" in page.text
    page = read(write_report([runs("line", "{ units = 1 }")], tmp_path / "new" / "report.html"))
    assert "R²" in page.text
    assert "accuracy" not in page.text, "numbers have none"
    assert "Confusion" not in page.text


def test_precision_and_recall_are_those_of_the_confusion_matrix(
    subject: Callable[..., Any], runs: Any
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    from disttrain.report.of_run import classes_table

    made = subject("images", "{ units = 3 }")
    samples = made.samples("test")
    outputs = made.trained.predict_split(samples.split)
    table = classes_table(made, samples.targets, outputs)
    found = metrics.precision_recall_fscore_support(samples.targets, outputs.argmax(axis=1))
    for n, row in enumerate(table.rows):
        assert [float(x) for x in row[1:4]] == pytest.approx(
            [part[n] for part in found[:3]], abs=1e-4
        )
    assert matrix(samples.targets, outputs.argmax(axis=1)).sum() == len(outputs)


def test_the_most_confidently_wrong_come_first(subject: Callable[..., Any]) -> None:
    from disttrain.report.mistakes import wrong

    made = subject("images", "{ units = 3 }")
    samples = made.samples("test")
    outputs = np.full((4, 3), 0.1)
    outputs[[0, 1, 2, 3], [1, 2, 2, 0]] = [0.5, 0.9, 0.8, 0.7]
    found = wrong(made, samples.inputs[:4], np.array([0, 0, 2, 1]), outputs)
    assert found is not None
    assert [caption for _, caption in found.images] == [
        "0, taken for 2 (0.900), row 1", "1, taken for 0 (0.700), row 3",
        "0, taken for 1 (0.500), row 0",
    ]  # fmt: skip
    assert wrong(made, samples.inputs[:1], np.array([1]), outputs[:1]) is None


def test_of_several_runs(runs: Any, tmp_path: Path) -> None:
    one, two = runs("classes"), runs("classes", '{ units = 3, activation = "relu" }, { units = 2 }')
    said: list[str] = []
    written = write_report([one, two, tmp_path], tmp_path, said.append)
    assert said == [f"{tmp_path} holds no run and is left out"]
    (study := tmp_path / "study").mkdir()
    (study / "study.jsonl").touch()
    # As `report runs/*` does once there is a report.
    page = read(write_report([one, written, study, two], tmp_path, said.append))
    assert said[1:] == [f"{study} holds a study and is left out: make its report by itself"]
    torn, cut, odd = (tmp_path / name for name in ("torn", "cut", "odd"))
    for folder in (torn, cut, odd):
        folder.mkdir()
        (folder / "run.toml").write_text((one / "run.toml").read_text())
    (torn / "run.toml").write_text("not = [toml")
    (cut / "metrics.jsonl").write_text("none\n")
    (tmp_path / "file").touch()
    said.clear()
    read(write_report([one, two, torn, cut, tmp_path / "file"], tmp_path, said.append))
    assert said[0].startswith(f"{torn} can't be read (run file {torn}/run.toml is not valid TOML")
    assert said[1].startswith(f"{cut} can't be read ({cut}/metrics.jsonl can't be read")
    assert said[2:] == [f"{tmp_path / 'file'} holds no run and is left out"]
    summary = {"status": "completed", "wall_seconds": "x", "samples_per_second": None}
    (odd / "summary.json").write_text(json.dumps(summary))
    assert "odd" in read(write_report([one, odd], tmp_path)).text
    for text in (one.name, two.name, "Settings that differ", "model.layers.0.units", "relu",
                 "They first differ at step 0"):  # fmt: skip
        assert text in page.text
    again = read(write_report([one, one], tmp_path))
    assert "They are equal at all" in again.text


def study(folder: Path) -> Path:
    """Write a study of a search, with what a candidate can be."""
    rows = [
        {"number": n, "stage": n // 4, "seconds": 1.5, "status": "completed", "digest": "ab" * 32,
         "settings": {"schedule.learning_rate": 10.0**-n, "model.loss": HOSTILE},
         "path": f"candidates/{n:04d}", "score": 0.5 + n / 10}
        for n in range(5)
    ]  # fmt: skip
    rows.append(rows[0] | {"number": 5, "score": None, "status": "diverged"})
    made = {"status": "completed", "metric": "validation_accuracy", "best": 4, "candidates": rows}
    (folder / "study.json").write_text(json.dumps(made))
    return folder


def test_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "best.toml").write_text("seed = 7 # <b>")
    page = read(write_report([study(tmp_path)]))
    for text in ("0.9", "Score against each", "diverged", HOSTILE, "seed = 7 # <b>", "0.0001"):
        assert text in page.text
    assert page.tags.count("svg") == 3
    assert "Lost ranks" not in page.text


def test_of_a_study_whose_candidate_lost_a_rank(tmp_path: Path) -> None:
    place = study(tmp_path) / "candidates" / "0003"
    place.mkdir(parents=True)
    line = "lost rank 1 (node2) in step 7: the others went on"
    told = {"status": "preempted", "failures": [line, "asked to stop after step 9"]}
    (place / "summary.json").write_text(json.dumps(told))
    page = read(write_report([tmp_path]))
    assert f"candidate 3: {line}" in page.text
    assert "asked to stop" not in page.text, "it was pruned"


def folds(folder: Path) -> dict[str, Any]:
    """Write a cross-validation of two learning rates; return the first one's."""
    rows = [
        {"settings": {"schedule.learning_rate": r}, "folds": [0.7, 0.75, 0.8], "mean": 0.75,
         "deviation": 0.05}
        for r in (0.1, 0.01)
    ]  # fmt: skip
    (folder / "folds.json").write_text(json.dumps({"settings": rows}))
    return rows[0]


def test_of_folds(tmp_path: Path) -> None:
    first = folds(tmp_path)
    page = read(write_report([tmp_path]))
    for text in ("schedule.learning_rate = 0.1", "0.75", "0.05", "fold 3"):
        assert text in page.text
    (tmp_path / "folds.json").write_text(json.dumps(first))
    assert "0.75" in read(write_report([tmp_path])).text


def ensemble(folder: Path) -> None:
    """Write an ensemble of three members."""
    members = [{"path": f"member-{n}", "accuracy": 0.9 + n / 100, "loss": 0.3} for n in range(3)]
    whole = {"accuracy": 0.95, "loss": 0.2}
    text = json.dumps({"members": members, "ensemble": whole, "split": "test"})
    (folder / "ensemble.json").write_text(text)


def test_of_an_ensemble(tmp_path: Path) -> None:
    ensemble(tmp_path)
    page = read(write_report([tmp_path]))
    for text in ("member-2", "95.00 %", "+3.00 points", "92.00 %"):
        assert text in page.text


def test_all_texts_from_outside_are_escaped(runs: Any, tmp_path: Path) -> None:
    source = runs("images", "{ units = 3 }")
    for name in ("run.toml", "metrics.jsonl"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    with open(tmp_path / "run.toml", "a") as file:
        file.write(f"# {HOSTILE}\n")
    summary = json.loads((source / "summary.json").read_text())
    summary |= {"diagnosis": [HOSTILE], "failures": [HOSTILE], "status": "completed"}
    summary["environment"][HOSTILE] = HOSTILE
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "logs").mkdir()
    event = {"event": "error", "text": HOSTILE, "phase": HOSTILE, "host": HOSTILE, "rank": 0}
    (tmp_path / "logs/rank-0000.jsonl").write_text(json.dumps(event) + "\n{")
    page = read(write_report([tmp_path]))
    assert page.text.count(HOSTILE) >= 7
    assert "holds no" in page.text or "checkpoint" in page.text, "the weights are missing"


def test_what_can_not_be_reported(tmp_path: Path) -> None:
    # A run file and its data, before any training.
    (tmp_path / "run.toml").write_text("data.path = 'data.h5'\nmodel.layers = [2]\n")
    (tmp_path / "data.h5").touch()
    with pytest.raises(CheckpointError, match="holds no run, study, folds or ensemble"):
        write_report([tmp_path / "data.h5"])
    (tmp_path / "run.toml").unlink()
    with pytest.raises(CheckpointError, match="holds no run, study, folds or ensemble"):
        write_report([tmp_path])
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        write_report([tmp_path / "nowhere"])
    with pytest.raises(CheckpointError, match="none of these folders"):
        write_report([tmp_path, tmp_path], say=lambda line: None)
    (tmp_path / "study.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"study\.json can't be read \(it is not JSON\)"):
        write_report([tmp_path])
    (tmp_path / "study.json").write_text('{"candidates": [1, {"score": "x", "settings": []}]}')
    read(write_report([tmp_path]))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        write_report([tmp_path], tmp_path / "file" / "report.html")
