"""The lock file of a run folder: where it lies tells whether the folder was replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from disttrain.errors import CheckpointError

__all__ = ["LOCK", "place_of_lock"]

LOCK = ".lock"


def place_of_lock(folder: Path) -> tuple[int, int] | None:
    """Return device and inode of the lock file, which are different for each folder.

    None where there is no lock any more; raises CheckpointError where the folder can't be reached.
    """
    try:
        found = os.stat(folder / LOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise CheckpointError(
            f"run folder {folder} can't be reached any more ({error.strerror}): nothing more is "
            "written; --resume goes on from the newest checkpoint"
        ) from None
    return found.st_dev, found.st_ino
