"""A training that is cut off at any point and resumed ends as one that never was."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import load
from disttrain.checkpoint.commit import read_record
from disttrain.config import Settings
from disttrain.runs.folder import NOTHING
from tests.unit.checkpoint.crash_disk import Disk, Folder, after_a_crash, write

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
# Checkpoints and best states of different steps; the loss falls, rises and falls again.
CHANGES = (
    "training.epochs=2", "validation.every_steps=2", "checkpoint.every_steps=3",
    "schedule.learning_rate=2.0", "checkpoint.keep=2", "validation.patience=5",
)  # fmt: skip
FACTS = ("status", "reason", "steps", "best_step", "validation", "test", "digest")


def kind(name: str, content: bytes) -> tuple[str, object]:
    """Return what tells two files of a name apart for a resumption: damage is damage."""
    if name.endswith(".tmp"):
        return name, None
    return name, content if not name.endswith(".h5") or is_whole(content) else None


def is_whole(content: bytes) -> bool:
    """Return True for a checkpoint in which nothing is damaged."""
    file = io.BytesIO(content)
    record = read_record(file)
    return record is not None and not record.read(file).damaged


def crashes(disk: Disk) -> list[Folder]:
    """Return one of each kind of folder that a crash may leave."""
    kinds: dict[object, Folder] = {}
    for done in range(len(disk.calls) + 1):
        for left in after_a_crash({}, disk.calls[:done]):
            # Metrics are read again only where the summary says that the run is over.
            over = "run/summary.json" in left
            files = [f for f in left.items() if over or not f[0].endswith("metrics.jsonl")]
            kinds.setdefault(frozenset(kind(*file) for file in files), left)
    return list(kinds.values())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_crash_point_of_a_training(
    tmp_path: Path, settings: Make, go: Go, listen: type, metrics: Callable[[Path], Any]
) -> None:
    made, disk = settings(*CHANGES), Disk(tmp_path / "disk", chunk=10**9)
    (tmp_path / "disk").mkdir()
    with disk.watched():
        whole = go(made, "disk/run")
    best = load(tmp_path / "disk/run/best.h5").digest
    assert 0 < whole["best_step"] < whole["steps"]
    left, repaired, begun = crashes(disk), 0, set()
    assert len(left) > 50
    for number, folder in enumerate(left):
        path = write(tmp_path / f"left-{number}", folder) / "run"
        if path.is_dir():
            # It is synced before anything else of the run is written.
            (path / ".lock").write_text(NOTHING)
        listener = listen()
        resumed = go(made, f"left-{number}/run", resume=True, callbacks=[listener])
        assert {k: resumed[k] for k in FACTS} == {k: whole[k] for k in FACTS}, sorted(folder)
        assert load(path / "best.h5").digest == best
        assert metrics(path) == metrics(tmp_path / "disk/run")
        assert not list(path.rglob("*.tmp"))
        repaired += any("is written anew" in line for line in listener.messages)
        begun.update(listener.steps[:1])
    # Between a checkpoint and its best.h5; and from the beginning and every checkpoint on.
    assert repaired > 1
    assert len(begun) > 4
