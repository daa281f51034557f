"""Arguments and options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from disttrain.shown import shown

__all__ = [
    "AsJson",
    "Checkpoint",
    "GoOn",
    "Quiet",
    "RanksEach",
    "RunFile",
    "Set",
    "Verbose",
    "listen",
    "print_json",
    "put",
    "say",
    "teller",
]

RunFile = Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run file.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, as in training.epochs=5."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
Checkpoint = Annotated[
    Path, typer.Argument(metavar="FILE", help="A checkpoint, or a run folder (its best model).")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print what each rank does, on standard error.")
]
Float64 = Annotated[
    bool, typer.Option("--float64", help="Compute in float64, whatever it was trained in.")
]
# Of commands that train several networks.
GoOn = Annotated[bool, typer.Option("--resume", help="Go on: what has ended stays as it is.")]
RanksEach = Annotated[int, typer.Option(min=1, help="Ranks that train one network together.")]


def listen(quiet: bool = False, verbose: bool = False) -> None:
    """Let this rank print its warnings, and with `verbose` all its events, as lines of its own."""
    import socket

    from disttrain import journal
    from disttrain.environment import launched
    from disttrain.errors import UsageError

    if quiet and verbose:
        raise UsageError("give --quiet or --verbose, not both")
    if job := launched():
        # Before the ranks have met: what they say until then has its rank too.
        journal.who(job.rank, socket.gethostname())
    journal.listen(verbose)


def print_json(value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print a JSON object, or a list of them, as one line; numbers that are not finite as null."""
    put(json.dumps(_finite(value), allow_nan=False))


def say(line: str, as_json: bool = False) -> None:
    """Print a line for people: on standard error where standard output is for a program."""
    _print(shown(line), sys.stderr if as_json else sys.stdout)


def teller(quiet: bool, as_json: bool) -> Callable[[str], None]:
    """Return `say` for these options of a command; with `quiet` it prints nothing."""
    return (lambda line: None) if quiet else partial(say, as_json=as_json)


def put(text: str) -> None:
    """Print a text for a program or a file, as it is; a terminal gets it with escapes."""
    if sys.stdout.isatty():
        text = "\n".join(shown(line, most=sys.maxsize) for line in text.split("\n"))
    _print(text, sys.stdout)


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does: no error now, nor at Python's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _finite(value: Any) -> Any:
    """Return `value` with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
