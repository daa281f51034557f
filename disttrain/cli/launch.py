"""`disttrain launch`: starts any other command on N ranks under the right mpirun."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from disttrain.errors import UsageError

__all__ = ["CONTEXT", "command"]

CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
# Commands that know what to do with several ranks.
PARALLEL = (
    "train",
    "evaluate",
    "predict",
    "check",
    "inspect",
    "verify",
    "compare",
    "doctor",
    "env",
)


def command(
    arguments: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="As in: train RUN.toml --resume")
    ],
    ranks: Annotated[int, typer.Option("-n", "--ranks", min=1, help="Number of ranks.")] = 1,
) -> None:
    """Start a command on N ranks of this host: mpirun, BLAS threads, root and signals set."""
    from disttrain.launch import find_launcher, supervise

    if arguments[0] not in PARALLEL:
        raise UsageError(
            f"launch starts one of {', '.join(PARALLEL)}, not {arguments[0]!r}: as in "
            "`disttrain launch -n 4 train RUN.toml`"
        )
    if arguments[1:2] in (["-n"], ["--ranks"]):
        raise UsageError(
            f"{arguments[1]} goes before the command: `disttrain launch -n 4 {arguments[0]} ...`"
        )
    stream = sys.stderr if "--json" in arguments else sys.stdout
    program = [sys.executable, "-m", "disttrain", *arguments]
    saves = arguments[0] == "train"
    raise typer.Exit(supervise(find_launcher(), ranks, program, stream.isatty(), saves))
