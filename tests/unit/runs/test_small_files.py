"""Whatever stands in the place of a run's small files: a sentence, no traceback and no wait."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain import written
from disttrain.checkpoint import Report
from disttrain.cli import inspect
from disttrain.comm.alone import Alone
from disttrain.config import Settings, parse
from disttrain.data.writer import write_data_file
from disttrain.errors import CheckpointError, DisttrainError, RunFileError
from disttrain.launch.run_mark import RunMark
from disttrain.runs import compare_runs, train
from disttrain.runs.verification import verify_run
from tests.conftest import RUN_FILE, blobs

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
pytestmark = pytest.mark.timeout(60)

DEEP = 200_000
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "a text": b"hello\n",
    "not UTF-8": b'{"status": "\xff"}\n',
    "deep": b"[" * DEEP + b"]" * DEEP + b"\n",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"\n",
    "a list": b"[]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "an object": b"{}\n",
    "NaN": b'{"status": "completed", "steps": NaN, "step": NaN}\n',
    "infinity": b'{"status": "completed", "epochs": 1e999, "step": 1e999}\n',
    "many digits": b'{"status": "completed", "steps": 1' + b"0" * 4000 + b"}\n",
    "too many digits": b'{"status": "completed", "steps": 1' + b"0" * 100_000 + b"}\n",
    "other types": b'{"status": ["completed"], "step": "1", "tensors": [], "chain": 1}\n',
    "half a character": b'{"status": "\\ud800", "step": 1, "tensors": {"\\ud800": []}}\n',
    "a long line": b'{"status": "' + b"x" * (5 << 20) + b'"}\n',
    "zeros": bytes(10_000),
}
OTHERS = ("a folder", "a pipe", "a link to itself", "a link to nothing")
FILES = ("summary.json", "metrics.jsonl", "digests.jsonl", "run.toml")


def put(path: Path, what: str) -> None:
    path.unlink()
    if what in TEXTS:
        path.write_bytes(TEXTS[what])
    elif what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if what == "a link to itself" else path.with_name("nothing"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch, trained once for all tests."""
    folder = tmp_path_factory.mktemp("finished")
    splits = {"train": blobs(110, 1), "test": blobs(30, 2)}
    write_data_file(folder / "data.h5", splits)
    changes = [f"data.path={folder / 'data.h5'}", "training.epochs=1", "plot=false"]
    train(parse(RUN_FILE, changes), folder / "run", Alone())
    return folder


@pytest.fixture
def run(tmp_path: Path, finished: Path) -> Path:
    """A folder with that run, beside another one."""
    for name in ("run", "other"):
        shutil.copytree(finished / "run", tmp_path / name)
    return tmp_path / "run"


@pytest.fixture
def settings(finished: Path) -> Make:
    """Return a function: the settings of that run with changes."""
    return lambda *changes: parse(RUN_FILE, [f"data.path={finished / 'data.h5'}", *changes])


def tried(do: Callable[[], Any]) -> str:
    """Return the sentence that something is refused with, or an empty one."""
    problem: DisttrainError | None = None
    try:
        do()
    except DisttrainError as error:
        problem = error
    assert problem is None or problem.exit_code in (2, 3)
    said = str(problem or "")
    assert said.isprintable() or not said
    return said


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", [*TEXTS, *OTHERS])
def test_every_reader_says_what_is_wrong(
    run: Path, settings: Make, go: Go, name: str, what: str
) -> None:
    put(run / name, what)
    facts: list[dict[str, Any]] = []
    problem = tried(lambda: facts.append(verify_run(run)))
    if facts:
        found = {Path(f["path"]).name: f["problem"] for f in facts[0]["files"]}
        assert found[name], name
        assert name in found[name]
        assert all(not problem for other, problem in found.items() if other != name)
    else:
        assert name in problem
    tried(lambda: compare_runs(run, run.with_name("other")))
    tried(lambda: inspect._checkpoint(run))
    mark = RunMark(["run.toml", "--output", str(run)])
    mark._summary = None
    mark.code()
    # Resuming needs none of them; but what can't be read, and may be whole, is not replaced.
    said = tried(lambda: go(settings("training.epochs=2"), resume=True))
    cures = {"a folder": "move it away", "a link to itself": "remove the cause and try again"}
    assert not said or (name in said and cures[what] in said)


@pytest.mark.parametrize("what", ["deep", "NaN", "other types", "a pipe", "a folder", "empty"])
def test_plots_say_what_is_wrong(run: Path, what: str) -> None:
    pytest.importorskip("matplotlib")
    from disttrain.report.pictures import draw_all

    put(run / "metrics.jsonl", what)
    curves = next(iter(draw_all(run, run)))
    assert curves.name == "curves.png"
    assert curves.path is None
    assert "metrics.jsonl can't be read" in curves.reason or "no interval" in curves.reason
    put(run / "run.toml", what)
    with pytest.raises((RunFileError, CheckpointError), match=r"run\.toml"):
        list(draw_all(run, run))


def test_an_interval_has_what_a_report_has() -> None:
    fields = {field.name for field in dataclasses.fields(Report)}
    assert fields - {"metrics"} == written.INTERVAL


def test_the_last_interval_may_be_under_way(run: Path) -> None:
    from disttrain.report.subject import Subject

    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 14, "ep')
    assert [interval["step"] for interval in Subject(run).history] == [7]
    with pytest.raises(written.CutOff, match="line 2"):
        list(written.intervals_of(run / "metrics.jsonl"))


def test_what_is_right_is_read_as_it_is(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert written.summary_of(run / "summary.json") == summary
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert list(written.intervals_of(run / "metrics.jsonl")) == lines
