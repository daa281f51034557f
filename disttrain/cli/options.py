"""Arguments and options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AsJson",
    "Checkpoint",
    "Data",
    "Quiet",
    "RunFile",
    "Set",
    "Verbose",
    "listen",
    "print_json",
    "say",
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
Data = Annotated[
    str | None, typer.Option("--data", help="A data file other than the one of the training.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print what each rank does, on standard error.")
]


def listen(quiet: bool = False, verbose: bool = False) -> None:
    """Have this rank print its warnings, and with `verbose` what it does, as lines of its own."""
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


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    say(json.dumps(value))


def say(line: str, as_json: bool = False) -> None:
    """Print a line for people: on standard error where standard output is for a program."""
    stream = sys.stderr if as_json else sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        # Whoever read has gone, as `head` does: no failure, nor when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
