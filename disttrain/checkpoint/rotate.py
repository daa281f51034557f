"""The checkpoints of a run: their names, which are kept, and the newest whole one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from disttrain.checkpoint.load import load
from disttrain.checkpoint.save import write_atomically
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.errors import CheckpointError

__all__ = [
    "all_checkpoints",
    "find",
    "newest_whole",
    "path_of",
    "put_aside",
    "save_newest",
    "step_of",
]

NAME = re.compile(r"step-(\d{8,})\.h5")


def all_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), key=step_of)


def step_of(path: Path) -> int:
    """Return the step that the name of a checkpoint says."""
    return int(path.stem.removeprefix("step-"))


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint of `step` stands, or would stand."""
    return folder / f"step-{step:08d}.h5"


def save_newest(folder: Path, step: int, content: bytes, keep: int) -> Path:
    """Write a checkpoint's `content` as `step-<step>.h5`, then delete all but the `keep` newest.

    Nothing is deleted before the new one is safe, so there is always one to resume from. Return
    its path.
    """
    path = path_of(folder, step)
    write_atomically(path, content)
    upto = [p for p in all_checkpoints(folder) if step_of(p) <= step]
    for old in [*upto[:-keep], *folder.glob(".*.tmp")]:
        try:
            old.unlink(missing_ok=True)
        except OSError as problem:
            raise CheckpointError(
                f"{old} can't be deleted ({problem.strerror}), and checkpoints would fill the disk "
                f"without end: delete it; {path.name} is whole, --resume goes on from there"
            ) from None
    return path


def newest_whole(folder: Path, say: Callable[[str], None]) -> Snapshot | None:
    """Return the newest checkpoint that is whole; None if none is.

    One that is not whole is said and put aside as `<name>.damaged`.
    """
    for path in reversed(all_checkpoints(folder)):
        try:
            return load(path)
        except CheckpointError as error:
            say(f"{error}; {put_aside(path, 'damaged')}")
    return None


def put_aside(path: Path, ending: str) -> str:
    """Rename a file that must not be used, so that nothing is deleted; return what to say of it."""
    try:
        path.rename(path.with_name(f"{path.name}.{ending}"))
    except OSError as problem:
        return f"it can't be put aside ({problem.strerror})"
    return f"it is put aside as {path.name}.{ending}"


def find(path: Path) -> Path:
    """Return the checkpoint that `path` means: a file, or a run folder's best or else newest."""
    if not path.is_dir():
        return path
    best, others = path / "best.h5", all_checkpoints(path / "checkpoints")
    if best.is_file():
        return best
    if not others:
        raise CheckpointError(f"{path} holds no checkpoint: give a run folder or a .h5 file of one")
    return others[-1]
