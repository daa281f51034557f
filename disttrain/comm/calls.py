"""Collective calls of a user's own program: before each one, the ranks say which they make.

Calls from inside this package are not looked at: there all ranks do the same.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from disttrain.comm.board import note_call
from disttrain.comm.places import is_ours, place_of
from disttrain.comm.standstill import WAITING
from disttrain.errors import UsageError, note_speaker, raised_everywhere

if TYPE_CHECKING:
    from disttrain.comm.communicator import Communicator

__all__ = ["MEETS", "SEPARATOR", "Call", "collective", "in_call", "is_inside", "user_of"]

P = ParamSpec("P")
T = TypeVar("T")
# What the phases are called in which a rank waits for the others to make a call, and in which it is
# in no call; the deadline of the first where no settings say it.
MEETS, OWN, USUAL = f"{WAITING} for the others in ", "the script", 600.0
# Rows of an array that stand for it.
SAMPLED = 16
SEPARATOR = "\n"
# The attribute of what a call returned: the number of the call.
MADE = "_disttrain_made"
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


def collective(*alike: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a function that all ranks call: a user's program is held to that.

    `alike` are the names of arguments that must be the same on all ranks: texts, numbers, and
    arrays by their shapes and some of their rows. The ranks are those of the first argument, which
    is a communicator or has one as `comm`; else those of the keyword `comm`.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        known = inspect.signature(function)

        @wraps(function)
        def called(*args: P.args, **keywords: P.kwargs) -> T:
            caller = sys._getframe(1)
            if is_ours(caller):
                return function(*args, **keywords)
            comm = _communicator(*args[:1], **keywords)
            if comm.size == 1:
                return function(*args, **keywords)
            how, sample = "", 0.0
            if alike:
                try:
                    given = known.bind(*args, **keywords).arguments
                except TypeError:
                    # Python says itself what is wrong with the arguments.
                    return function(*args, **keywords)
                how, sample = _described({n: given[n] for n in alike if n in given})
            if made := getattr(args[0], MADE, 0) if args else 0:
                how = f"{how}{SEPARATOR}of what call {made} made".removeprefix(SEPARATOR)
            settings = getattr(args[0], "settings", None) if args else None
            limit = None if settings is None else settings.communication.deadline_seconds
            call = Call(function.__name__, place_of(caller), how, sample)
            with in_call(comm, call, limit) as number:
                result = function(*args, **keywords)
            if hasattr(result, "comm") and hasattr(result, "__dict__"):
                vars(result)[MADE] = number
            return result

        return called

    return decorate


@contextmanager
def in_call(comm: Communicator, call: Call, limit: float | None = None) -> Iterator[int]:
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


def _communicator(first: Any = None, **keywords: Any) -> Communicator:
    from disttrain.comm.communicator import Communicator
    from disttrain.comm.world import connect, meet_at_the_end

    for found in (first, getattr(first, "comm", None)):
        if isinstance(found, Communicator):
            return found
    found = connect(keywords.get("comm"))
    meet_at_the_end()
    return found


def _described(given: dict[str, Any]) -> tuple[str, float]:
    """Return arguments as text, and a number for the values of arrays in it."""
    parts, total = [], 0.0
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, str | os.PathLike | bool | int | float):
            parts.append(f"{name} {os.fspath(value) if isinstance(value, os.PathLike) else value}")
        elif shape := getattr(value, "shape", None):
            parts.append(f"{name} of shape {tuple(shape)}")
            total += _sample(value)
        elif isinstance(value, dict):
            parts.append(f"{name} {' and '.join(sorted(map(str, value))) or 'none'}")
        elif isinstance(value, list | tuple):
            kinds = [_kind(each) for each in value]
            kinds = [kind or "numbers" for kind in kinds] if any(kinds) else []
            parts.append(f"{name} {' and '.join(kinds) or f'of {len(value)}'}")
        else:
            parts.append(f"{name} {_kind(value)}")
    return SEPARATOR.join(parts), total


def _kind(value: Any) -> str:
    """Return what an object is, as a word; nothing for numbers and rows of them."""
    plain = isinstance(value, int | float | list | tuple | np.ndarray | np.generic | dict)
    return "" if plain else str(getattr(value, "__name__", type(value).__name__))


def _sample(array: Any) -> float:
    """Return a number for some rows of an array; 0 for what has none of numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or not array.size:
        return 0.0
    rows = np.linspace(0, len(array) - 1, min(SAMPLED, len(array))).astype(int)
    values = np.nan_to_num(array[rows].astype(np.float64).reshape(-1), posinf=1.0, neginf=-1.0)
    return float(values @ np.arange(1.0, len(values) + 1.0))
