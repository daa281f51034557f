"""What `disttrain watch` finds in the files of a job, whole or half written."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from disttrain.cli.watch import command, display, spark
from disttrain.errors import CheckpointError
from disttrain.runs.watching import OneRun, SeveralRuns, heard, look, news


def shown(view: Any, width: int = 120) -> str:
    from rich.console import Console

    console = Console(width=width, highlight=False, emoji=False, markup=False)
    with console.capture() as found:
        console.print(display(view, width))
    return found.get()


def test_a_run_that_is_done(go: Any, settings: Any, tmp_path: Path, capsys: Any) -> None:
    go(settings("model.average=0.9"))
    view = look(tmp_path / "run")
    assert isinstance(view, OneRun)
    assert view.is_over
    text = shown(view)
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert f"{last['validation_loss']:.4g}" in text
    assert "validation average loss" in text
    assert "cpu" in text, "of rank 0's journal"
    assert "completed" in text
    command(tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(view.history) + 1
    assert lines[-1] == f"run: completed, epoch {last['epoch']:.2f} of {view.epochs}"


def test_a_run_under_way(go: Any, settings: Any, tmp_path: Path) -> None:
    go(settings())
    run = tmp_path / "run"
    (run / "summary.json").unlink()
    before = look(run)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 1')
    with open(run / "logs/rank-0000.jsonl", "a") as file:
        file.write("{")
    view = look(run)
    assert view == before
    assert isinstance(view, OneRun)
    assert not view.is_over
    assert "running" in shown(view)
    assert len(list(news(view))) == len(view.history)
    (run / "metrics.jsonl").unlink()
    assert "epoch 0.00" in shown(look(run))


def test_runs_side_by_side(go: Any, settings: Any, tmp_path: Path, capsys: Any) -> None:
    go(settings(), "1")
    (tmp_path / "study/candidates").mkdir(parents=True)
    for name in ("1", "2"):
        shutil.copytree(tmp_path / "1", tmp_path / "study/candidates" / name)
    (tmp_path / "study/candidates/2/summary.json").unlink()
    view = look(tmp_path / "study")
    assert isinstance(view, SeveralRuns)
    assert not view.is_over
    ((key, line),) = news(view)
    assert line.startswith(f"{key}: completed  epoch")
    text = shown(view)
    assert "1 of 2 begun have ended" in text
    assert text.count("running") == 2
    best = {"number": 2, "score": 0.75, "settings": {"schedule.learning_rate": 0.1, "[red]x": 1}}
    told = {"status": "completed", "best": best, "candidates": []}
    (tmp_path / "study/study.json").write_text(json.dumps(told))
    assert look(tmp_path / "study").is_over
    # How a candidate ended is what the study says; one that has paused goes on later.
    summary = tmp_path / "study/candidates/1/summary.json"
    summary.write_text(summary.read_text().replace('"completed"', '"preempted"'))
    stopped = {
        "status": "preempted",
        "candidates": [{"path": "candidates/1", "status": "preempted"}],
    }
    (tmp_path / "study/study.json").write_text(json.dumps(told | stopped))
    text = shown(look(tmp_path / "study"))
    assert "asked to stop, --resume goes on, 0 of 2 begun have ended" in text
    row = {"path": "candidates/1", "status": "pruned"}
    for rows, status, over in ((([]), "paused", 0), ([row], "pruned", 1)):
        (tmp_path / "study/study.json").write_text(
            json.dumps(told | {"status": "running", "candidates": rows})
        )
        text = shown(view := look(tmp_path / "study"))
        assert status in text
        assert f"{over} of 2 begun have ended" in text
        assert len(list(news(view))) == over
    command(tmp_path / "study", once=True)
    out = capsys.readouterr().out
    assert "candidate 2, 0.7500" in out
    assert "[red]x = 1" in out.replace("\n", " "), "no markup of others"


def test_folds_under_way_and_done(tmp_path: Path) -> None:
    ended = {
        "number": 4, "repeat": 1, "fold": 2, "status": "completed", "digest": "ab", "epochs": 3.0,
        "loss": 0.25, "accuracy": 0.75,
    }  # fmt: skip
    records = [{"settings": "", "folds": 3, "repeats": 1}, ended]
    lines = [json.dumps({"sum": 0, "record": record}) + "\n" for record in records]
    (tmp_path / "folds.jsonl").write_text("".join(lines) + '{"sum": 3, "rec')
    view = look(tmp_path)
    assert isinstance(view, SeveralRuns)
    assert not view.is_over
    assert [line for _, line in news(view)] == [
        "2: repeat 1 fold 2: completed  epoch   3.00/3  validation loss 0.2500 accuracy 0.7500"
    ]
    assert "running, 1 of 1 begun have ended" in shown(view)
    (tmp_path / "folds.json").write_text(json.dumps({"status": "completed", "best": 1}))
    assert look(tmp_path).is_over


def test_a_narrow_terminal_shows_fewer_columns() -> None:
    history = [
        {"epoch": n, "validation_loss": 1 / n, "validation_accuracy": 0.5, "train_loss": 1e-9 * n}
        for n in (1, 2, 3)
    ]
    ranks = {0: [{"event": "end", "host": "a-long-name.of.a.host", "cores": 4}]}
    run = OneRun(Path("r"), "a-run-with-a-name", 3, history, "completed", ranks=ranks)
    whole = {"members": [1, 2], "ensemble": {"loss": 0.25, "accuracy": 0.5}, "split": "test"}
    for width in (40, 60, 80, 120):
        for view in (run, SeveralRuns(Path("r"), [run], {})):
            text = shown(view, width)
            assert "…" not in text, text
            assert max(map(len, text.splitlines())) <= width
            assert ("over the epochs" in text) == (width >= 60 if view is run else width > 80)
    words = "r: 2 members, loss 0.2500, accuracy 0.5000 (test)"
    assert words in shown(SeveralRuns(Path("r"), [], whole))


def test_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run and no study"):
        look(tmp_path)


def test_blocks_rise_and_fall_as_the_numbers() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert spark([5.0, 5.0]) == "▁▁"
    assert spark(list(range(1000)), 4) == "▁▃▆█"


def test_when_a_rank_was_heard_of() -> None:
    now = datetime.now(UTC)
    event = {"time": (now - timedelta(seconds=7)).isoformat()}
    assert heard([event], now) == pytest.approx(7)
    assert heard([{"time": "x"}]) is None
    assert heard([{"time": "2026-01-01T00:00:00"}]) is None
