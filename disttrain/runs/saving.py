"""The files of one save; what does not depend on each other is written at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from disttrain.checkpoint import (
    Snapshot,
    delete_older,
    drafted,
    path_of,
    pieces_of,
    write_atomically,
)

__all__ = ["write_files"]


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
        except BaseException:
            if draft and not draft.exception():
                draft.result().discard()
            raise
        if draft:
            draft.result().put()
    return sum(map(len, content))
