"""`disttrain doctor`: what is wrong with the place where a job would run, and the cure."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.environment import launched

if TYPE_CHECKING:
    from disttrain.launch.doctor.facts import Facts
    from disttrain.launch.doctor.finding import Finding
    from disttrain.launch.doctor.silence import Silence

__all__ = ["command"]

# Seconds for the work, which takes one or two where all is well.
LIMIT = 9.0
# The other ranks wait so many seconds longer, so that rank 0 reports first.
COURTESY = 5.0
# The part of the limit in which each rank must have examined its host.
LOOKING = 0.6


Output = Annotated[Path, typer.Option("--output", "-o", help="The run folder to be tested.")]
Limit = Annotated[float, typer.Option("--limit", min=1, help="Seconds after which it gives up.")]
Clean = Annotated[
    bool, typer.Option("--clean", help="Only remove what jobs that are gone have left here.")
]


def command(
    output: Output = Path("runs"),
    limit: Limit = LIMIT,
    clean: Clean = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong here, alone or on all ranks of mpirun; ends with 0 in any case."""
    from disttrain.launch.doctor.attend import attend

    if clean:
        sweep(as_json)
        return

    job = launched()
    prints = not (job and job.rank)

    def emergency(silence: Silence) -> None:
        """Report how a child ended that gave no answer."""
        from disttrain.launch.doctor.interfaces import network
        from disttrain.launch.doctor.silence import no_answer

        finding = no_answer(silence, network(), job)
        if prints:
            print_report([], [finding], as_json)
        elif silence.kind == "died" and job:
            complain(replace(finding, what=f"rank {job.rank}: {finding.what}"))

    tell = attend(limit if prints else limit + COURTESY, emergency)
    if tell is None:
        return
    # Only now, in the child: numpy and MPI start threads, which a fork would lose.
    from disttrain.launch.doctor.checks import JOINING, judge
    from disttrain.launch.doctor.examine import examine

    facts = examine(output, tell, LOOKING * limit)
    if facts and prints:
        print_report(facts, judge(facts), as_json)
    elif facts:
        # This rank could not join the others, so rank 0 does not know why.
        for finding in judge(facts, JOINING):
            complain(finding)
    tell("done")


def sweep(as_json: bool) -> None:
    """Kill and remove what jobs of this user have left on this host that are gone; say what."""
    from disttrain.launch import leftovers
    from disttrain.launch.signs import remove_dead

    base = tempfile.gettempdir()
    killed, removed = leftovers.sweep(base)
    for place in {Path(base), Path.cwd()}:
        removed += remove_dead(place)
    if as_json:
        print_json({"killed": killed, "removed": removed})
        return
    for pid in killed:
        say(f"killed process {pid}, a rank whose mpirun is gone")
    for path in removed:
        say(f"removed {path}")
    if not killed and not removed:
        say("jobs that are gone have left nothing here")


def complain(finding: Finding) -> None:
    """Print a finding of a rank other than 0 on standard error."""
    from disttrain.launch.doctor.report import in_one_line

    say(f"disttrain doctor: {in_one_line(finding)}", as_json=True)


def print_report(facts: list[Facts], findings: list[Finding], as_json: bool) -> None:
    """Print what was found, in words or as one object."""
    from disttrain.launch.doctor.report import as_object, in_words

    if as_json:
        print_json(as_object(facts, findings))
    else:
        for line in in_words(facts, findings):
            say(line)
