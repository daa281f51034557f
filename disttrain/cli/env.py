"""`disttrain env`: what a bug report needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from disttrain.cli.options import AsJson, print_json, say

__all__ = ["command"]

# Seconds for the whole report: generous, for slow file systems.
LIMIT = 30.0


def command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run folder to tell about.")
    ] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Print versions, machine, MPI, GPU and harmless variables, for a bug report."""
    from disttrain.launch.doctor.attend import attend

    tell = attend(LIMIT, lambda silence: print_report({"no_answer": str(silence)}, as_json))
    if tell is None:
        return
    # Only now, in the child: numpy and MPI start threads, which a fork would lose.
    from disttrain.launch.doctor.bug_report import bug_report

    tell("looking around")
    print_report(bug_report(output), as_json)
    tell("done")


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """Print the report as lines or as one object; ranks but the first have no output."""
    if as_json:
        print_json(report)
    else:
        for line in lines(report):
            say(line)


def lines(values: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Yield a line for each value, those of an object below its name."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from lines(value, f"{indent}  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}{name}: {', '.join(map(_flat, value)) or '-'}"
        else:
            yield f"{indent}{name}: {'-' if value in ('', None, {}) else value}"


def _flat(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
