"""Whether a checkpoint is whole, and if not, what in it is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disttrain.checkpoint.commit import has_record, read_record
from disttrain.checkpoint.load import load
from disttrain.checkpoint.rotate import NAME, step_of
from disttrain.checkpoint.save import FORMAT
from disttrain.checkpoint.state import State
from disttrain.errors import CheckpointError
from disttrain.written import opened

__all__ = ["Verdict", "is_checkpoint", "verify"]

# A checkpoint names its format near its beginning.
BEGINNING = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What was found of one file: `problem` is a sentence, or "" where the file is whole.

    Of a checkpoint that is whole `step`, `epoch`, `digest` and `progress` are known; of a damaged
    one `damaged` names the data sets, where the record is whole.
    """

    path: Path
    problem: str = ""
    damaged: list[str] = field(default_factory=list)
    step: int | None = None
    epoch: float | None = None
    digest: str | None = None
    progress: State = field(default_factory=State)

    @property
    def whole(self) -> bool:
        """True where nothing is wrong with the file."""
        return not self.problem

    def facts(self) -> dict[str, Any]:
        """Return all that is known, as JSON values."""
        known = {key: getattr(self, key) for key in ("step", "epoch", "digest")}
        return {
            "path": str(self.path),
            "whole": self.whole,
            "problem": self.problem or None,
            "damaged": self.damaged,
            **{key: value for key, value in known.items() if value is not None},
        }


def verify(path: Path) -> Verdict:
    """Return the verdict on the checkpoint at `path`: every digest in it is computed again."""
    try:
        snapshot = load(path)
        snapshot.settings(path)
    except CheckpointError as error:
        return Verdict(path, str(error), _damaged(path))
    problem = ""
    if NAME.fullmatch(path.name) and step_of(path) != snapshot.step:
        problem = f"checkpoint {path} is of step {snapshot.step}: rename it back"
    return Verdict(
        path, problem, [], snapshot.step, snapshot.epoch, snapshot.digest,
        snapshot.progress,
    )  # fmt: skip


def is_checkpoint(path: Path) -> bool:
    """Return True for a file that is a checkpoint, even a damaged one.

    Raises CheckpointError for one that can't be read.
    """
    if NAME.fullmatch(path.name) or path.name == "best.h5":
        return True
    try:
        with open(path, "rb") as file:
            begin = file.read(BEGINNING)
            file.seek(max(0, path.stat().st_size - 1024))
            return FORMAT.encode() in begin or has_record(file.read())
    except OSError as error:
        raise CheckpointError(
            f"{path} can't be read ({error.strerror}): give a checkpoint, a run folder or a data "
            "file"
        ) from None


def _damaged(path: Path) -> list[str]:
    try:
        with opened(path) as file:
            record = read_record(file)
            return record.read(file).damaged if record else []
    except (OSError, ValueError, MemoryError):
        return []
