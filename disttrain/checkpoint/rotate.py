"""The checkpoints of a run: their names, which are kept, and the newest whole one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from disttrain.checkpoint.load import load
from disttrain.checkpoint.save import save
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.errors import CheckpointError

__all__ = ["all_checkpoints", "find", "newest_whole", "save_newest"]

NAME = re.compile(r"step-(\d{8,})\.h5")


def all_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, the oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def save_newest(folder: Path, snapshot: Snapshot, keep: int) -> Path:
    """Save `snapshot` as `step-<step>.h5`, then delete all but the `keep` newest. Return its path.

    Nothing is deleted before the new one is safe, so there is always one to resume from.
    """
    path = folder / f"step-{snapshot.step:08d}.h5"
    save(path, snapshot)
    for old in all_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    for stray in folder.glob(".*.tmp"):
        stray.unlink(missing_ok=True)
    return path


def newest_whole(folder: Path, say: Callable[[str], None]) -> Snapshot | None:
    """Return the newest checkpoint that is whole, saying which ones are not; None if none is."""
    for path in reversed(all_checkpoints(folder)):
        try:
            return load(path)
        except CheckpointError as error:
            say(f"{error}")
    return None


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
