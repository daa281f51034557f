"""Syncing folders, so that the names of new files survive a crash."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["make_directory", "sync_directory"]


def make_directory(path: Path) -> None:
    """Make a directory with all above it, so that a crash afterwards leaves it there."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, on file systems that can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        # Some network file systems can't sync a directory; the file itself is safe by now.
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
