"""`disttrain doctor`: what is wrong with the place where a job would run, and the cure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.environment import launched
from disttrain.launch.doctor.attend import LIMIT, attend, no_answer
from disttrain.launch.doctor.finding import Finding
from disttrain.launch.doctor.interfaces import network
from disttrain.launch.doctor.report import as_object, in_words

if TYPE_CHECKING:
    from disttrain.launch.doctor.facts import Facts

__all__ = ["command"]

# Ranks that are not asked to speak wait so much longer, for rank 0 to speak.
COURTESY = 5.0


def command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run folder to try out.")
    ] = Path("runs"),
    limit: Annotated[
        float, typer.Option("--limit", min=1, help="Seconds after which it gives up.")
    ] = LIMIT,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong here, alone or on all ranks of mpirun; ends with 0 in any case."""
    job = launched()
    speaks = not (job and job.rank)

    def emergency(how: str) -> None:
        """Say what became of a child that gave no answer."""
        if speaks:
            print_report([], [no_answer(how, network())], as_json)

    tell = attend(limit if speaks else limit + COURTESY, emergency)
    if tell is None:
        return
    # Only now, in the child: numpy and MPI start threads, which a fork would lose.
    from disttrain.launch.doctor.checks import judge
    from disttrain.launch.doctor.examine import examine

    facts = examine(output, tell)
    if facts:
        print_report(facts, judge(facts), as_json)
    tell("done")


def print_report(facts: list[Facts], findings: list[Finding], as_json: bool) -> None:
    """Print what was found, in words or as one object."""
    if as_json:
        print_json(as_object(facts, findings))
    else:
        for line in in_words(facts, findings):
            say(line)
