"""The files of one save; what does not depend on each other is written at the same time."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from disttrain.checkpoint import (
    Buffer,
    Draft,
    Snapshot,
    delete_older,
    drafted,
    path_of,
    pieces_of,
    write_atomically,
)
from disttrain.errors import CheckpointError, UsageError
from disttrain.shown import quoted

__all__ = ["copy_to", "write_files"]


def copy_to(path: Path, source: Path) -> None:
    """Write the checkpoint in `source` to `path`, whole or not at all. Raises UsageError."""
    if path.suffix != ".h5":
        raise UsageError(
            f"save({quoted(str(path))}): its name must end in .h5; `disttrain export RUN FILE` "
            "writes .onnx and .safetensors"
        )
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source} can't be copied ({error.strerror})") from None
    write_atomically(path, content, error=UsageError)


def write_files(
    snapshot: Snapshot,
    checkpoints: Path,
    keep: int,
    best: Path | None,
    first: Callable[[], None],
    check: Callable[[], None],
    in_place: Callable[[], None],
) -> int:
    """Write the newest of the `checkpoints`, and `best` if given; return the bytes of each.

    `first` makes safe on disk what a checkpoint presumes, `check` refuses weights that changed,
    `in_place` a folder that was moved. Each wait for the disk takes milliseconds.
    """
    with ThreadPoolExecutor(1) as beside:
        presumed = beside.submit(first)
        content = pieces_of(snapshot)
        # After their digests: a bit may have flipped during the validation or in the meantime.
        check()
        presumed.result()
        in_place()
        # First: until `best` is there, the best state is among the checkpoints.
        newest = path_of(checkpoints, snapshot.step)
        write_atomically(newest, content)
        draft = beside.submit(drafted, best, content) if best else None
        try:
            delete_older(newest, content, keep)
            in_place()
            if draft and best:
                _put(draft, best, content)
        except BaseException:
            # Also an interrupt: it waits for the draft, which would stay as a hidden file.
            if draft and not draft.exception():
                draft.result().discard()
            raise
    return sum(map(len, content))


def _put(draft: Future[Draft], best: Path, content: Sequence[Buffer]) -> None:
    """Put the draft at `best`; write it anew where it had no room beside the older checkpoints."""
    try:
        found = draft.result()
    except CheckpointError as error:
        cause = error.__context__
        if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        write_atomically(best, content)
        return
    found.put()
