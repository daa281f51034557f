"""Where a user's own program stands: the line of it from which this package was called."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from types import FrameType

__all__ = ["is_ours", "main_place", "place_of"]

PACKAGE = __name__.partition(".")[0]
# Files under these are libraries, and no user's program.
LIBRARIES = tuple(
    os.path.join(found, "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (found := sysconfig.get_paths().get(name))
)
HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def is_ours(frame: FrameType) -> bool:
    """Return True for a function of this package."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] == PACKAGE


def place_of(frame: FrameType | None) -> str:
    """Return the innermost line of the user's program in a stack, as in "script.py:12".

    Where there is none, as under a library that was started by itself, it is that library's.
    """
    outer = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((HERE, "<frozen")):
            place = f"{os.path.basename(file)}:{frame.f_lineno}"
            if not file.startswith(LIBRARIES):
                return place
            outer = outer or place
        frame = frame.f_back
    return outer


def main_place() -> str:
    """Return the line at which the main thread of this process is."""
    return place_of(sys._current_frames().get(threading.main_thread().ident or 0))
