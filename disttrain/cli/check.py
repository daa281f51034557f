"""`disttrain check`: reads a run file and its data as a training would, and trains nothing.

Asked to, it tries out: sanity checks (`--overfit`) and a range test of the rate (`--rates`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.described import describe, print_facts
from disttrain.cli.options import AsJson, RunFile, Set, Verbose, listen, print_json, say
from disttrain.cli.own import Layers, read_with
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.advice.overfit import SanityCheck
    from disttrain.advice.range_test import RangeTest
    from disttrain.config import Settings
    from disttrain.training import Run

__all__ = ["command"]

SCHEMA = "Print the JSON Schema of a run file, and no more."
# Lines of the table of rates.
TABLE = 15


def show_schema(asked: bool) -> None:
    """Print the JSON Schema of a run file and end."""
    if asked:
        from disttrain import config

        print_json(config.schema())
        raise typer.Exit


Overfit = Annotated[
    bool, typer.Option("--overfit", help="Check first loss, gradients, and that 20 samples fit.")
]
Rates = Annotated[
    bool, typer.Option("--rates", help="Raise the learning rate step by step: which work?")
]
Show = Annotated[
    bool, typer.Option("--show", help="Draw some training samples, augmented, to augmented.png.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for --show [default: runs/<name>].")
]


def command(
    run_file: RunFile,
    low_high: Annotated[
        str | None, typer.Argument(metavar="LOW:HIGH", help="The rates for --rates.")
    ] = None,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    overfit: Overfit = False,
    rates: Rates = False,
    show: Show = False,
    output: Output = None,
    layers: Layers = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", is_eager=True, callback=show_schema, help=SCHEMA),
    ] = False,
) -> None:
    """Validate a run file and its data; print layers, parameters, bytes and steps."""
    from disttrain.comm import connect
    from disttrain.training import build_run

    comm = connect()
    listen(verbose=verbose)
    with comm.together("configuration"):
        settings, own = read_with(run_file, set_, layers)
        low, high = checked_range(low_high, rates)
    run = build_run(settings, comm, layers=own.layers, loss=own.loss)
    line = begin_together(run)
    facts = describe(run) | {"initial_weights": line, "by_the_data": list(run.by_the_data)}
    with comm.together("looking at the data"):
        said = warnings(settings, run, stated=own.layers is None)
        facts["warnings"] = said if comm.is_root else []
    if comm.is_root and not as_json:
        print_facts(facts, f"{run_file}: {settings.name}", settings.model.dtype)
    if show:
        facts["picture"] = shown(run, output or Path("runs") / settings.name, as_json)
    try_out(run, facts, overfit, (low, high) if rates else None, as_json)
    if comm.is_root and not as_json:
        say("ready to train, with a warning" if facts["warnings"] else "ready to train")


def shown(run: Run, folder: Path, as_json: bool) -> str:
    """Draw training samples as they are in the first epochs; return where. Collective."""
    from disttrain.report import augmented
    from disttrain.report.figure import save

    path = folder / augmented.NAME
    with run.comm.together("drawing"):
        if run.comm.is_root:
            save(augmented.figure(run), path)
            say(str(path), as_json)
    return str(path)


def warnings(settings: Settings, run: Run, stated: bool) -> list[str]:
    """Return what may go wrong in a training, a sentence each; its layers may be `stated`."""
    from disttrain.advice.kinds import odd_kinds
    from disttrain.advice.scale import odd_scales
    from disttrain.advice.updates import few_updates
    from disttrain.training.suitability import bounded_outputs, doubts

    rows = run.dataset.splits["train"].count
    few = few_updates(run.settings, rows, run.steps_per_epoch, run.total_steps)
    found = doubts(settings, stated) + (bounded_outputs(run.settings) if stated else [])
    return found + odd_kinds(run) + odd_scales(run) + ([few] if few else [])


def begin_together(run: Run) -> str:
    """Try `model.from`: give its weights to all ranks and return what was taken. Collective."""
    from disttrain.training.initial import begin_from

    source, said = run.settings.model.from_, ""
    with run.comm.together("loading model.from", by_root=True):
        if source and run.comm.is_root:
            said = begin_from(run.network, source)
    if source:
        values = run.host_values()
        run.comm.broadcast(values)
        run.network.device.put(values, run.network.values)
    return said


def checked_range(low_high: str | None, rates: bool) -> tuple[float, float]:
    """Return the range of rates that was given, or the usual one."""
    from disttrain.advice.range_test import parse_range

    if low_high is not None and not rates:
        raise UsageError(
            f"{low_high!r} after the run file is for --rates only: add it, or leave it"
        )
    return parse_range(low_high)


def try_out(
    run: Run,
    facts: dict[str, Any],
    overfit: bool,
    low_high: tuple[float, float] | None,
    as_json: bool,
) -> None:
    """Do what was asked for beyond reading; print it, or all `facts` with it. Collective.

    Raises, on all ranks, where a sanity check did not pass.
    """
    from disttrain.advice.overfit import refuse_failures, sanity_checks
    from disttrain.advice.range_test import range_test

    silent = as_json or not run.comm.is_root
    checks: list[SanityCheck] = []
    if overfit:
        checks = sanity_checks(run)
        facts["checks"] = [vars(check) for check in checks]
        facts["valid"] = all(check.ok for check in checks)
        for check in () if silent else checks:
            say(f"  {check.name:16}{check.says}  {'ok' if check.ok else 'NOT'}")
            if not check.ok:
                say(f"  {'':16}{check.advice}")
    if low_high:
        tested, falls = range_test(run, *low_high), run.settings.schedule.kind != "constant"
        facts["rates"] = tested.facts()
        for line in () if silent else rates_in_words(tested, falls):
            say(line)
    if as_json and run.comm.is_root:
        print_json(facts)
    with run.comm.together("sanity checks"):
        refuse_failures(checks)


def rates_in_words(test: RangeTest, falls: bool) -> list[str]:
    """Return the table of rates and what it suggests for a schedule that `falls`, or not."""
    lines = ["  rate          loss       smoothed", f"  {'none':12}  {test.initial_loss:<9.4g}"]
    last = len(test.points) - 1
    chosen = sorted({round(i * last / (TABLE - 1)) for i in range(TABLE)}) if last >= 0 else []
    for point in (test.points[i] for i in chosen):
        lines.append(f"  {point.rate:<12.3g}  {point.loss:<9.4g}  {point.smoothed:<9.4g}")
    if test.diverged_at is not None:
        lines.append(f"  {test.diverged_at:<12.3g}  diverges here")
    if test.steepest is None or test.largest_stable is None:
        lines.append(
            "no rate in this range lowered the loss beyond its noise: try others, or --overfit"
        )
        return lines
    third = test.largest_stable / 3
    lines.append(
        f"the loss falls most steeply around the rate {test.steepest:.2g} and is least at "
        f"{test.largest_stable:.2g}, the largest stable rate:"
    )
    if falls:
        taken = f"{third:.2g}, a third of the largest, as the schedule makes it smaller later"
    else:
        taken = (
            f"{test.steepest:.2g}, or up to a third of the largest, {third:.2g}, with a schedule "
            "that makes it smaller later"
        )
    return [*lines, f"take schedule.learning_rate = {taken}"]
