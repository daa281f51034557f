"""Collective calls of a user's own program: before each one, the ranks say which they make.

Calls from inside this package are not looked at: there all ranks do the same.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, Protocol

from disttrain.comm.board import note_call
from disttrain.comm.places import is_ours
from disttrain.comm.standstill import WAITING
from disttrain.comm.watch import Watch
from disttrain.errors import UsageError, note_speaker, raised_everywhere

__all__ = ["MEETS", "SEPARATOR", "Call", "in_call", "is_inside", "user_of"]

# What the phases are called in which a rank waits for the others to make a call, and in which it is
# in no call; the deadline of the first where no settings say it.
MEETS, OWN, USUAL = f"{WAITING} for the others in ", "the script", 600.0
SEPARATOR = "\n"
# The calls that this process is in, the innermost last: thread and text.
_inside: list[tuple[int, str]] = []


class Call(NamedTuple):
    """A collective call: its name, the line of the program, what else must be the same.

    `sample` is a number that stands for the arrays that are given: nearly the same on all ranks.
    """

    name: str
    place: str = ""
    how: str = ""
    sample: float = 0.0
    number: int = 0

    def __str__(self) -> str:
        return f"{self.name}, at {self.place}" if self.place else self.name

    def is_as(self, other: Call) -> bool:
        """Return True where both can be one call of two ranks."""
        near = math.isclose(self.sample, other.sample, rel_tol=1e-4, abs_tol=1e-12)
        return self.name == other.name and self.how == other.how and near


class Ranks(Protocol):
    """The part of a communicator that a call needs."""

    watch: Watch

    @property
    def is_root(self) -> bool:
        """True on rank 0."""

    def refuse_inside(self) -> None:
        """Raise UsageError where no collective call can be made."""

    def meet(self, call: Call) -> int:
        """Return the number of `call` when all ranks have come for it."""


@contextmanager
def in_call(comm: Ranks, call: Call, limit: float | None = None) -> Iterator[int]:
    """Run the body, a collective call of a user's program, when all ranks have come for it.

    Its value is the number of the call. `limit` is the deadline, where settings state one.
    """
    comm.refuse_inside()
    me, watch = threading.get_ident(), comm.watch
    if _inside and _inside[-1][0] != me:
        raise UsageError(
            f"{call} was called while another thread is in {_inside[-1][1]}: a rank does one thing "
            "at a time, so wait for that call first"
        )
    before = watch.current if _inside else OWN
    waits = (watch.seconds or USUAL) if limit is None else limit
    _inside.append((me, str(call)))
    note_call(str(call))
    try:
        with watch.armed(waits):
            watch.enter(MEETS + call.name)
            number = comm.meet(call)
        watch.enter(call.name)
        with watch.armed(watch.seconds if limit is None else limit):
            yield number
    except BaseException as error:
        if raised_everywhere(error):
            note_speaker(error, comm.is_root)
        raise
    finally:
        _inside.pop()
        note_call(_inside[-1][1] if _inside else "")
        watch.enter(before)


def is_inside() -> bool:
    """Return True where this process is in a collective call of a user's program."""
    return bool(_inside)


def user_of(frame: FrameType | None) -> FrameType | None:
    """Return the frame that called, where it is one of a user's program; None: of this package."""
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    return None if frame is None or is_ours(frame) else frame
