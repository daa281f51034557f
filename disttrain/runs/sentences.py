"""Errors in the words of a script: arguments in place of the options of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from disttrain.errors import DisttrainError, RankFailure

__all__ = ["in_python"]

P = ParamSpec("P")
T = TypeVar("T")

# What a sentence says to people at a shell, and to those who write Python. Commands, in backticks,
# stay as they are.
SAID = (
    (r"--missing mean\|median\|drop\|indicator", 'missing="mean", "median" or "indicator"'),
    (r" \(--missing drop leaves such rows out\)", ""),
    (r"by --layers MODULE:FUNCTION \(evaluate, predict, ...\), or give them in Python ", ""),
    (r"name the function that makes them by layers=", "give them by layers="),
    (r"name what returns \(layers, loss\) by --layers MODULE:FUNCTION, or give it in Python",
     "give it"),
    (r" by --split \(in Python split=\.\.\.\)", " by split=..."),
    (r"--split '?([\w-]+)'? out", r'split="\1" out'),
    (r"name a file of samples \(--data\)", "name a file of samples"),
    (r"leave (it|the column) out with --drop ('[^']*')", r"leave \1 out, drop(columns=\2)"),
    (r"out with --drop ('[^']*')", r"out, drop(columns=\1)"),
    (r"or --drop it", "or leave it out"),
    (r"give --categories one-hot", "give pandas.get_dummies of it"),
    (r"--categories one-hot", "pandas.get_dummies of it"),
    (r"--na ('[^']*') if it says", r"None in place of \1 if it says"),
    (r"another --output", "another output folder"),
    (r" \(--output\)", ""),
    (r" \(data\.path; --data of evaluate\)", ""),
    (r"--(resume|overwrite|accept-changes)\b", r"\1=True"),
    (r"--(\w+)\b", r"\1="),
)  # fmt: skip


def in_python(function: Callable[P, T]) -> Callable[P, T]:
    """Return `function`, whose errors name arguments of Python in place of options."""

    @wraps(function)
    def _said(*args: P.args, **keywords: P.kwargs) -> T:
        try:
            return function(*args, **keywords)
        except DisttrainError as error:
            error.args = tuple(_in_python(text) for text in error.args)
            if isinstance(error, RankFailure):
                error.cause = _in_python(error.cause)
            raise

    return _said


def _in_python(sentence: str) -> str:
    """Return a sentence with its options as arguments."""
    parts = re.split(r"(`[^`]*`)", sentence)
    for place in range(0, len(parts), 2):
        for option, argument in SAID:
            parts[place] = re.sub(option, argument, parts[place])
        parts[place] = parts[place].replace("accept-changes=True", "accept_changes=True")
    return "".join(parts)
