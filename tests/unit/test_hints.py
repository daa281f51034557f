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
        ("help", "as in: disttrain --help"),
        ("version", "as in: disttrain --version"),
        ("train run.toml --cv 5", "disttrain cross-validate RUN.toml --folds 5"),
        ("cross-validate run.toml --cv 5", "that is --folds here"),
        ("train run.toml --output-dir x", "that is --output here"),
        ("predict runs/a x.csv --out y.csv", "that is --output here"),
        ("train run.toml --ckpt-path x", "that is --resume here"),
        ("train run.toml --force", "that is --overwrite here"),
        ("train run.toml --silent", "that is --quiet here"),
        ("train run.toml --debug", "that is --verbose here"),
        ("train run.toml --wandb", "that is --logger here"),
        ("train run.toml --dry-run", "disttrain check RUN.toml reads all and trains nothing"),
        ("train run.toml --n-trials 3", "disttrain search STUDY.toml"),
        ("train --config run.toml", "behind the command: disttrain train RUN.toml"),
        ("train run.toml --gpus 2", "how many ranks train, one for each core or GPU"),
        ("train run.toml --verbosity 2", "has only warnings and errors printed"),
        ("train run.toml --optimizer adam", "set by --set optimizer.kind=..."),
        ("train run.toml --device cuda", "set by --set device.kind=..."),
        ("train run.toml --data x.h5", "set by --set data.path=..."),
        ("train run.toml --val-split 0.2", "set by --set data.validation_fraction=..."),
        ("train run.toml --patience 3", "set by --set validation.patience=..."),
        ("train run.toml --output", ""),
        ("prepare csv a.csv b.h5 --label kind", "that is --target here"),
        ("prepare csv a.csv b.h5 --test-size 0.2", "that is --test-fraction here"),
        ("template slurm run.toml --cpus-per-task 2", "that is --cpus here"),
        ("evaluate --model runs/a", "behind the command: disttrain evaluate RUN"),
        ("evaluate runs/a --test", "that is --split test here"),
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
