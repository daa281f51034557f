"""Replacing a run by another one in its folder: the old one stays until the new one has saved.

Each file of the old run gets the ending `.replaced`, `run.toml` last: from then on the folder
belongs to the new run. They are deleted after its first checkpoint. Where the process dies before
`run.toml` is renamed, the next one renames all back (`--resume`) or goes on (`--overwrite`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from disttrain.disk import sync_directory
from disttrain.errors import CheckpointError

__all__ = ["ENDING", "discard", "move", "put_back", "set_aside"]

ENDING = ".replaced"


def set_aside(files: Sequence[Path], run_file: Path) -> None:
    """Rename what is there of the old run's `files`, and then its `run_file`.

    Where the old run has replaced one itself, the one of the two that has saved a state is kept.
    """
    if _aside(run_file).exists() and any(p.suffix == ".h5" and p.exists() for p in files):
        discard(run_file)
    for path in files:
        move(path)
    _sync(files)
    if not run_file.exists():
        run_file.touch()
    move(run_file)
    sync_directory(run_file.parent)


def move(path: Path) -> None:
    """Rename a file, if it is there, so that it can be put back."""
    try:
        if _aside(path).exists():
            # The file that was set aside before is of a run that has saved a state: keep that one.
            path.unlink(missing_ok=True)
        elif path.exists() or path.is_symlink():
            path.rename(_aside(path))
    except OSError as problem:
        raise CheckpointError(
            f"{path} can't be put aside ({problem.strerror}): nothing is deleted; remove the "
            "cause, then "
            "--overwrite again, or --resume for the run that is there"
        ) from None


def put_back(run_file: Path) -> bool:
    """Undo a `set_aside` that was cut off; return True where there was one."""
    folder = run_file.parent
    kept = [*folder.glob(f"*{ENDING}"), *folder.glob(f"*/*{ENDING}")]
    if not kept or _aside(run_file).exists():
        return False
    for path in kept:
        path.replace(path.with_name(path.name.removesuffix(ENDING)))
    _sync(kept)
    return True


def discard(run_file: Path) -> None:
    """Delete what was set aside: the new run has saved a state of its own."""
    folder, last = run_file.parent, _aside(run_file)
    kept = [*folder.glob(f"*{ENDING}"), *folder.glob(f"*/*{ENDING}")]
    for path in sorted(kept, key=lambda path: path == last):
        if path == last:
            _sync(kept)
        path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def _sync(files: Iterable[Path]) -> None:
    for folder in {path.parent for path in files}:
        if folder.is_dir():
            sync_directory(folder)
