"""The decorator of the functions that all ranks call: a user's program is held to that.

Calls from inside this package are not looked at: there all ranks do the same.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from disttrain.comm.calls import SEPARATOR, Call, in_call
from disttrain.comm.communicator import Communicator
from disttrain.comm.places import is_ours, place_of
from disttrain.comm.world import connect, meet_at_the_end

__all__ = ["collective"]

P = ParamSpec("P")
T = TypeVar("T")
# Rows of an array that stand for it.
SAMPLED = 16
# The attribute of what a call returned: the number of the call.
MADE = "_disttrain_made"


def collective(*alike: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a function that all ranks call: a user's program is held to that.

    `alike` are the names of arguments that must be the same on all ranks: texts, numbers, and
    arrays by their shapes and some of their rows. The ranks are those of the first argument, which
    is a communicator or has one as `comm`; else those of the keyword `comm`.
    """

    def _decorated(function: Callable[P, T]) -> Callable[P, T]:
        known = inspect.signature(function)

        @wraps(function)
        def _called(*args: P.args, **keywords: P.kwargs) -> T:
            caller = sys._getframe(1)
            if is_ours(caller):
                return function(*args, **keywords)
            comm = _communicator(*args[:1], **keywords)
            if comm.size == 1 or comm.closed:
                return function(*args, **keywords)
            try:
                given = known.bind(*args, **keywords).arguments
            except TypeError:
                # Python says itself what is wrong with the arguments.
                return function(*args, **keywords)
            how, sample = _described({name: given[name] for name in alike if name in given})
            if made := getattr(args[0], MADE, 0) if args else 0:
                how = f"{how}{SEPARATOR}of what call {made} made".removeprefix(SEPARATOR)
            call = Call(function.__name__, place_of(caller), how, sample)
            with in_call(comm, call, _limit(*args[:1])) as number:
                result = function(*args, **keywords)
            if hasattr(result, "comm") and hasattr(result, "__dict__"):
                vars(result)[MADE] = number
            return result

        return _called

    return _decorated


def _limit(first: Any = None) -> float | None:
    """Return the deadline that the settings of the first argument state, if it has some."""
    settings = getattr(first, "settings", None)
    return None if settings is None else float(settings.communication.deadline_seconds)


def _communicator(first: Any = None, **keywords: Any) -> Communicator:
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
