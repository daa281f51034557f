"""The checkpoints of a run: their names, which are kept, and the newest whole one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from disttrain.checkpoint.layout import Buffer
from disttrain.checkpoint.load import load
from disttrain.checkpoint.save import write_atomically
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.errors import CheckpointError, DamagedCheckpoint

__all__ = [
    "Found",
    "all_checkpoints",
    "delete_older",
    "find",
    "newest_whole",
    "path_of",
    "put_aside",
    "save_newest",
    "step_of",
]

NAME = re.compile(r"step-(\d{8,18})\.h5")
PIECE = 1 << 18


def all_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, the oldest first; none where there is no such folder.

    Raises CheckpointError for one that is there and can't be read.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not folder.is_symlink():
            return []
        if folder.parent.is_file():
            raise CheckpointError(f"{folder.parent} is not a run folder: give one") from None
        raise CheckpointError(
            f"{folder}, where checkpoints are, can't be read ({error.strerror}): remove the "
            "cause and try "
            "again"
        ) from None
    return sorted((folder / name for name in names if NAME.fullmatch(name)), key=step_of)


def step_of(path: Path) -> int:
    """Return the step that the name of a checkpoint says."""
    return int(path.stem.removeprefix("step-"))


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint of `step` stands, or would stand."""
    return folder / f"step-{step:08d}.h5"


def save_newest(folder: Path, step: int, content: Sequence[Buffer], keep: int) -> Path:
    """Write the pieces of a checkpoint as `step-<step>.h5`, then delete all but the `keep` newest.

    Nothing is deleted before the new one is safe and was read back, so there is always one to
    resume from. Return its path.
    """
    path = path_of(folder, step)
    write_atomically(path, content)
    delete_older(path, content, keep)
    return path


def delete_older(path: Path, content: Sequence[Buffer], keep: int) -> None:
    """Delete all but the `keep` newest checkpoints up to the one at `path`, which was just saved.

    Raises CheckpointError, and deletes none, where it does not hold `content`.
    """
    upto = [p for p in all_checkpoints(path.parent) if step_of(p) <= step_of(path)]
    if upto[:-keep]:
        _compare(path, content)
    for old in [*upto[:-keep], *path.parent.glob(".*.tmp")]:
        try:
            old.unlink(missing_ok=True)
        except OSError as problem:
            raise CheckpointError(
                f"{old} can't be deleted ({problem.strerror}), and checkpoints would fill the disk "
                f"without end: delete it; {path.name} is whole, --resume goes on from there"
            ) from None


def _compare(path: Path, content: Sequence[Buffer]) -> None:
    """Raise CheckpointError where a file does not hold `content`."""
    problem, read = "holds other bytes than were written", np.empty(PIECE, np.uint8)
    try:
        with path.open("rb") as file:
            if all(_follows(file, piece, read) for piece in content) and not file.read(1):
                return
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
    raise CheckpointError(
        f"{path} {problem} right after it was saved: the ones before it are kept, --resume goes on "
        "from there; have the disk and the memory of this host tested"
    )


def _follows(file: BinaryIO, piece: Buffer, read: np.ndarray) -> bool:
    """Return True where the next bytes of a file are those of `piece`; `read` is scratch."""
    for low in range(0, len(piece), PIECE):
        part = np.frombuffer(piece, np.uint8, min(PIECE, len(piece) - low), low)
        count = file.readinto(read[: len(part)])  # type: ignore[attr-defined]
        if count != len(part) or not np.array_equal(read[:count], part):
            return False
    return True


@dataclass(frozen=True)
class Found:
    """What a run can go on from: the state, the file that it is in, and the files that are damaged.

    Each of `damaged` is newer than the state, with the sentence that says what is wrong with it.
    """

    snapshot: Snapshot | None
    path: Path | None
    damaged: list[tuple[Path, str]]


def newest_whole(folder: Path, best: Path | None = None) -> Found:
    """Return the newest state that is whole, among the checkpoints in `folder`; nothing is changed.

    Where one is damaged, or there is none, `best` holds it too, perhaps. Raises CheckpointError for
    a checkpoint that comes first and can't be read, or is not of the step that its name says: it
    may be the one to go on from.
    """
    snapshot, path = None, None
    damaged: list[tuple[Path, str]] = []
    for path in reversed(all_checkpoints(folder)):
        try:
            snapshot = load(path)
        except DamagedCheckpoint as error:
            damaged.append((path, str(error)))
            continue
        if snapshot.step != step_of(path):
            raise CheckpointError(
                f"checkpoint {path} is of step {snapshot.step}: rename it back, or move it away"
            )
        break
    if best and os.path.lexists(best) and (damaged or snapshot is None):
        try:
            other = load(best)
            if snapshot is None or other.step > snapshot.step:
                snapshot, path = other, best
        except DamagedCheckpoint as error:
            damaged.append((best, str(error)))
    return Found(snapshot, path if snapshot else None, damaged)


def put_aside(path: Path, ending: str) -> str:
    """Rename a file that must not be used, and do not delete it; return a sentence on it."""
    names = (f"{path.name}.{ending}", *(f"{path.name}.{n}.{ending}" for n in range(2, 1000)))
    name = next(name for name in names if not os.path.lexists(path.with_name(name)))
    try:
        path.rename(path.with_name(name))
    except OSError as problem:
        return f"it can't be put aside ({problem.strerror})"
    return f"it is put aside as {name}"


def find(path: Path) -> Path:
    """Return the checkpoint that `path` means: a file, or a run folder's best or else newest."""
    if not path.is_dir():
        return path
    best, others = path / "best.h5", all_checkpoints(path / "checkpoints")
    if os.path.lexists(best):
        return best
    if not others:
        raise CheckpointError(f"{path} holds no checkpoint: give a run folder or a .h5 file of one")
    return others[-1]
