"""A start that was refused leaves no folder: neither an empty run nor a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from disttrain.comm import Communicator
from disttrain.errors import DisttrainError, UsageError, exit_code_of
from disttrain.runs.folder import RunFolder
from disttrain.runs.held import DATA
from disttrain.runs.lock import LOCK

__all__ = ["unless_refused"]


@contextmanager
def unless_refused(path: Path, comm: Communicator) -> Iterator[None]:
    """Run the body, and remove the run folder that it made where it was refused with code 2.

    A folder that was there before stays, with the log and the summary of the refused start, and so
    does one in which a run has begun. Folders above a new one stay.
    """
    new = comm.is_root and not os.path.lexists(path)
    try:
        yield
    except DisttrainError as error:
        if new and comm.is_root and exit_code_of(error) == UsageError.exit_code:
            with suppress(DisttrainError):
                _remove(RunFolder(path))
        raise


def _remove(folder: RunFolder) -> None:
    """Remove what a start writes before a run begins, and the folders that are empty then.

    Files of others stay. Where a run is there, or another process holds the lock, nothing goes.
    """
    if not os.path.lexists(folder.path):
        return
    logs = folder.path / "logs"
    try:
        folder.claim(resume=False, overwrite=False)
        own = *logs.glob("rank-*.jsonl"), *folder.path.glob(DATA), folder.summary
        for file in (*own, folder.path / LOCK):
            with suppress(OSError):
                file.unlink()
        for empty in (logs, folder.path):
            with suppress(OSError):
                empty.rmdir()
    finally:
        folder.release()
