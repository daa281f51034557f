"""Arguments and options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from disttrain.shown import shown

if TYPE_CHECKING:
    from disttrain.comm import Communicator
    from disttrain.training.injection import Injection

__all__ = [
    "AsJson",
    "Checkpoint",
    "GoOn",
    "Inject",
    "Quiet",
    "RanksEach",
    "RunFile",
    "Set",
    "Verbose",
    "injected",
    "listen",
    "print_as_root",
    "print_json",
    "put",
    "say",
    "teller",
    "written_to",
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
    bool, typer.Option("--float64", help="Compute all in float64, whatever it was trained in.")
]
Inject = Annotated[
    list[str],
    typer.Option(
        "--inject", metavar="FAULT",
        help="Break one rank on purpose, as in kill:rank=2,step=50 (see docs/faults.md).",
    ),
]  # fmt: skip
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


def injected(faults: list[str], comm: Communicator) -> Injection:
    """Return the faults that the command line asks for; raises UsageError for what is none."""
    from disttrain.training.injection import Injection, parse_fault

    return Injection([parse_fault(text) for text in faults], comm)


def print_as_root(comm: Communicator) -> None:
    """Let this rank print where it has become rank 0: before, its standard output led nowhere."""
    from disttrain.environment import launched

    if comm.is_root and (job := launched()) and job.rank:
        sys.stdout = sys.__stdout__


def print_json(value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print a JSON object, or a list of them, as one line; numbers that are not finite as null."""
    put(json.dumps(_finite(value), allow_nan=False))


def say(line: str, as_json: bool = False) -> None:
    """Print a line for people: on standard error where standard output is for a program."""
    _print(shown(line), sys.stderr if as_json else sys.stdout)


def teller(quiet: bool, as_json: bool, comm: Communicator | None = None) -> Callable[[str], None]:
    """Return `say` for these options of a command; with `quiet` it prints nothing.

    It is for rank 0 of `comm`, also one that becomes it since others died.
    """

    def tell(line: str) -> None:
        """Print a line."""
        if comm is not None:
            print_as_root(comm)
        say(line, as_json)

    return (lambda line: None) if quiet else tell


def put(text: str) -> None:
    """Print a text for a program or a file, as it is; a terminal gets it with escapes."""
    if sys.stdout.isatty():
        text = "\n".join(shown(line, most=sys.maxsize) for line in text.split("\n"))
    _print(text, sys.stdout)


def _print(text: str, stream: TextIO) -> None:
    with written_to(stream):
        print(text, file=stream, flush=True)


@contextmanager
def written_to(stream: TextIO) -> Iterator[None]:
    """Run a body that prints; UsageError where the output can't be written, as on a full disk."""
    try:
        yield
    except OSError as error:
        # The reader closed the pipe, as `head` does: no error now, nor at Python's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            from disttrain.errors import UsageError

            which = "error" if stream is sys.stderr else "output"
            raise UsageError(
                f"standard {which} can't be written ({error.strerror}): make room where it goes, "
                "or send it elsewhere"
            ) from None


def _finite(value: Any) -> Any:
    """Return `value` with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
