"""Trainings on a cluster of namespaces, each in a folder that all hosts share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import blobs, wait_for
from tests.cluster.hosts import Cluster, why_not

ROOT = Path(__file__).parents[2]
RUN_FILE = """
[data]
path = "blobs.h5"
[model]
layers = [{ units = 8, activation = "tanh" }, { units = 3 }]
dtype = "float64"
[training]
epochs = 60
batch_size = 32
[schedule]
kind = "step"
[communication]
deadline_seconds = 5
[device]
kind = "cpu"
[reproducibility]
mode = "exact"
"""
# The summary of each undisturbed training so far, by its run file and arguments.
UNDISTURBED: dict[tuple[object, ...], str] = {}


class Training:
    """A run file and its data in `folder`, and the commands that train it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        blobs(folder / "blobs.h5", rows=1600)
        (folder / "run.toml").write_text(RUN_FILE)
        self.environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def command(self, *arguments: object, output: str = "out", launch: tuple = ()) -> list[str]:
        """Return the command line: `launch` are the options of `disttrain launch`."""
        before = ["launch", *map(str, launch)] if launch else []
        train = ["train", "run.toml", "--output", output, *map(str, arguments)]
        return [sys.executable, "-m", "disttrain", *before, *train]

    def alone(self, output: str, *arguments: object) -> None:
        """Train on one rank, undisturbed; of a training that another test had, take the summary."""
        asked = ((self.folder / "run.toml").read_text(), *arguments)
        if asked not in UNDISTURBED:
            subprocess.run(
                self.command(*arguments, output=output), cwd=self.folder, check=True, timeout=200,
                env=os.environ | self.environment, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            UNDISTURBED[asked] = (self.folder / output / "summary.json").read_text()
        (self.folder / output).mkdir(exist_ok=True)
        (self.folder / output / "summary.json").write_text(UNDISTURBED[asked])

    def under_way(self, output: str = "out", intervals: int = 5) -> None:
        """Wait until a run has done some intervals."""
        metrics = self.folder / output / "metrics.jsonl"
        assert wait_for(
            lambda: metrics.exists() and metrics.read_text().count("\n") >= intervals, 100
        )

    def summary(self, output: str = "out") -> dict:
        """Return what `summary.json` says."""
        return json.loads((self.folder / output / "summary.json").read_text())

    def check_same(self, output: str, reference: str) -> None:
        """Two runs have come to the same result, bit for bit, whatever happened to them."""
        mine, theirs = self.summary(output), self.summary(reference)
        assert mine["status"] == theirs["status"] == "completed"
        assert mine["steps"] == theirs["steps"]
        for key in ("digest", "validation", "test", "best_step"):
            assert mine[key] == theirs[key]


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """Return a training in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Training(tmp_path)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where hosts can't be made, and say why."""
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def cluster(namespaces: None, tmp_path: Path) -> Iterator[Cluster]:
    """Yield three hosts, n0, n1 and n2."""
    with Cluster(3, tmp_path) as cluster:
        yield cluster
