"""What the ranks of a node show each other: a row each, in memory that they share."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from disttrain.comm.standstill import NOT_BUSY
from disttrain.stopped import is_gone

__all__ = [
    "BOARD",
    "LEFT",
    "WATCHES",
    "busy_on",
    "calls_on",
    "living",
    "note_call",
    "note_wait",
    "said_of",
    "text_of",
]

# Its process, its phase, since when it is in it, when its watch last looked, and when it last wrote
# the node's sign of life for the launch (all by the monotonic clock, which is the same for all
# processes of a node); and of the user's program the collective call that the rank is in, and
# outside of one the line at which it was last seen. `waits` is the process for which it waits in a
# call of another communicator than that of the board.
BOARD = np.dtype([("rank", "i8"), ("pid", "i8"), ("since", "f8"), ("alive", "f8"), ("sign", "f8"),
                  ("phase", "S64"), ("call", "S160"), ("place", "S80"),
                  ("waits", "i8")])  # fmt: skip
LEFT = "has left its script"


class _Shows(Protocol):
    def show(self, field: str, value: str | int) -> None:
        """Write a text or a number into this rank's row."""


# All watches of this process: a rank waits on one communicator, and shows it on each.
WATCHES: weakref.WeakSet[_Shows] = weakref.WeakSet()


def note_call(text: str) -> None:
    """Show on all boards the collective call that this process is in; "" for none."""
    for watch in list(WATCHES):
        watch.show("call", text)


def note_wait(pid: int, here: _Shows) -> None:
    """Show on all boards but that of `here` for which process this one waits; 0 for none."""
    for watch in list(WATCHES):
        watch.show("waits", 0 if watch is here else pid)


def text_of(row: Any) -> str:
    """Return what a rank does in its program, by its row, as part of a sentence."""
    if call := row["call"].decode(errors="replace"):
        return str(call)
    place = row["place"].decode(errors="replace")
    return f"in no collective call, at {place}" if place else "in no collective call"


def said_of(texts: Sequence[tuple[int, str]]) -> str:
    """Return what ranks do, in the order of ranks; those that do the same stand together."""
    ranks: dict[str, list[int]] = {}
    for rank, text in texts:
        ranks.setdefault(text, []).append(rank)
    return "; ".join(
        f"rank{'s' * (len(same) > 1)} {', '.join(map(str, same[:8]))}"
        f"{' and more' * (len(same) > 8)}: {text}"
        for text, same in ranks.items()
    )


def calls_on(board: np.ndarray[Any, Any]) -> str:
    """Return the calls of the user's programs on a board, behind a sentence; "" without any."""
    if not any(row["call"] for row in board):
        return ""
    return f" ({said_of([(int(row['rank']), text_of(row)) for row in board])})"


def living(board: np.ndarray[Any, Any]) -> list[Any]:
    """Return the rows of the ranks whose process has not ended."""
    return [row for row in board if not is_gone(int(row["pid"]))]


def busy_on(board: np.ndarray[Any, Any]) -> list[Any]:
    """Return the rows of the node's ranks that are in no phase of waiting."""
    return [row for row in living(board) if not row["phase"].decode().startswith(NOT_BUSY)]
