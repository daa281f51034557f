"""`disttrain drill`: does a training here survive what can happen to its ranks?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import AsJson, RunFile, Set, print_json, say
from disttrain.errors import LostRanks, UsageError

if TYPE_CHECKING:
    from disttrain.launch.drill import Outcome, Whole

__all__ = ["command"]

WIDE = 38

Ranks = Annotated[int, typer.Option("-n", "--ranks", "-np", "--np", min=2, help="Number of ranks.")]
Hosts = Annotated[str | None, typer.Option(help="Hosts to run on, as for `disttrain launch`.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of each training.")]
Tolerance = Annotated[
    str, typer.Option("--fault-tolerance", help="auto, on or off, as for `disttrain launch`.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Keep the run folders here [default: they are removed]."),
]


def command(
    run_file: RunFile,
    ranks: Ranks = 4,
    epochs: Epochs = 1,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    hosts: Hosts = None,
    fault_tolerance: Tolerance = "auto",
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Break ranks of short trainings on purpose, one fault after another, and keep the score.

    Ends with 0 where the training got over each of them, to the digest of the one without a fault
    (in fast mode: to its end), else with 5.
    """
    from disttrain import config
    from disttrain.launch import find_launcher
    from disttrain.launch.drill import Drill, cases

    changes = [*set_, f"training.epochs={epochs}"]
    config.read(run_file, changes)
    launcher, tell = find_launcher(), partial(say, as_json=as_json)
    options = ["-n", str(ranks), "--fault-tolerance", fault_tolerance]
    options += ["--hosts", hosts] if hosts else []
    words = [str(run_file), *(word for change in changes for word in ("--set", change))]
    # Also a scheduler's request ends the training under way, and removes what is there.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _place(output) as place:
        drill = Drill(place, options, words)
        whole = drill.undisturbed()
        tell(_headline(run_file, ranks, whole))
        if not launcher.can_survive or fault_tolerance == "off" or hosts:
            tell("a dead rank ends the job here: it is started again from the newest checkpoint")
        tell(f"{'fault':{WIDE}} recovered  how              seconds  steps lost  same digest")
        outcomes = []
        for number, case in enumerate(cases(ranks, whole), 1):
            outcomes.append(drill.attempt(number, case, whole))
            for line in _lines(outcomes[-1]):
                tell(line)
    good = [o for o in outcomes if o.recovered and (o.same_digest or not whole.exact)]
    tell(_verdict(outcomes, len(good), whole))
    if as_json:
        print_json(_as_object(ranks, whole, outcomes, len(good) == len(outcomes)))
    raise typer.Exit(0 if len(good) == len(outcomes) else LostRanks.exit_code)


@contextmanager
def _place(output: Path | None) -> Iterator[Path]:
    """Yield the folder for the trainings; without `output` it is removed afterwards."""
    from disttrain.launch.signs import FolderOfSigns

    if output is not None:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(f"{output} is there already: give a new --output")
        yield output.absolute()
        return
    # Where all hosts see it. Its lock tells the next one whether this drill is still alive.
    folder = FolderOfSigns([Path.cwd()])
    if folder.path is None:
        raise UsageError(f"{Path.cwd()} can't be written: give --output")
    try:
        yield folder.path
    finally:
        folder.remove()


def _headline(run_file: Path, ranks: int, whole: Whole) -> str:
    mode = "exact mode" if whole.exact else "fast mode: digests differ on fewer ranks"
    return (
        f"{run_file} on {ranks} ranks, {mode}: without a fault {whole.steps} steps in "
        f"{whole.seconds:.1f} s"
    )


def _lines(outcome: Outcome) -> list[str]:
    """Return a row of the score-card, and why the job itself could not go on."""
    yes = "yes" if outcome.recovered else "NO"
    seconds = "-" if outcome.seconds is None else f"{outcome.seconds:.2f}"
    lost = "-" if outcome.steps_lost is None else str(outcome.steps_lost)
    same = "yes" if outcome.same_digest else "NO"
    row = f"{outcome.case.name:{WIDE}} {yes:9}  {outcome.how:15}  {seconds:>7}  {lost:>10}  {same}"
    return [row, f"    code {outcome.code}: {outcome.said}"] if outcome.code else [row]


def _verdict(outcomes: list[Outcome], good: int, whole: Whole) -> str:
    """Return the last line."""
    end = "with the digest of the training without a fault" if whole.exact else "completed"
    return f"{good} of {len(outcomes)} trainings with a fault ended {end}"


def _as_object(ranks: int, whole: Whole, outcomes: list[Outcome], passed: bool) -> dict[str, Any]:
    """Return the score-card as one object."""
    undisturbed = {"steps": whole.steps, "seconds": whole.seconds, "digest": whole.digest}
    rows = [
        {
            "name": o.case.name, "inject": list(o.case.faults), "recovered": o.recovered,
            "how": o.how, "seconds": o.seconds, "steps_lost": o.steps_lost,
            "same_digest": o.same_digest, "code": o.code, "said": o.said,
        }
        for o in outcomes
    ]  # fmt: skip
    return {
        "ranks": ranks, "exact": whole.exact, "undisturbed": undisturbed, "faults": rows,
        "passed": passed,
    }  # fmt: skip
