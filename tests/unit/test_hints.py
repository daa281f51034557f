"""Habits of other programs on the command line are answered with the way it is done here."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from disttrain.cli import app
from disttrain.cli.hints import hint
from disttrain.errors import UsageError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train run.toml --epochs 5", "set by --set training.epochs=..."),
        ("train run.toml --lr 0.1", "set by --set schedule.learning_rate=..."),
        ("check run.toml --batch-size=5", "set by --set training.batch_size=..."),
        ("train run.toml --zzz", ""),
        ("train run.toml -n 2", "started by: disttrain launch -n 2 train ..."),
        ("evaluate runs/a --nproc-per-node=2", "started by: disttrain launch -n 2 evaluate ..."),
        ("plot runs/a -n 2", ""),
        ("evaluate runs/a --epochs 5", ""),
        ("train run.toml training.epochs=3", "set by --set training.epochs=3"),
        ("cross-validate run.toml --epochs 3", "set by --set training.epochs=..."),
        ("compare a b c", "disttrain report A B C"),
        ("template slurm run.toml --gpus 4", "say how many ranks by --ranks, nodes by --nodes"),
        ("predict runs/a --data new.csv", "disttrain predict RUN INPUTS"),
        ("fit run.toml", "as in: disttrain train"),
        ("resume runs/a", "as in: disttrain train RUN --resume"),
        ("nothing", ""),
        ("prepare houses.csv", "as in: disttrain prepare csv houses.csv houses-data.h5"),
        ("prepare fit", ""),
    ],
)
def test_a_habit_is_answered(words: str, said: str) -> None:
    with pytest.raises(typer.TyperException) as caught:
        app(words.split(), prog_name="disttrain", standalone_mode=False)
    line = hint(caught.value)
    assert line.endswith(said)
    assert bool(line) == bool(said)


def test_data_are_no_run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"houses\.csv is not a run file: name the data file"):
        app(["train", "houses.csv"], prog_name="disttrain", standalone_mode=False)
