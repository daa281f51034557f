"""`disttrain watch`: a running job in the terminal, from its files."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import say, written_to
from disttrain.shown import decimals, shown

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from disttrain.runs.watching import OneRun, SeveralRuns

__all__ = ["command"]

BLOCKS = "▁▂▃▄▅▆▇█"
CURVES = (
    "train_loss", "validation_loss", "validation_average_loss", "train_accuracy",
    "validation_accuracy", "validation_average_accuracy", "learning_rate", "samples_per_second",
)  # fmt: skip
ROWS = 24
# Characters of a table between two columns.
BETWEEN = 3


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN|STUDY", help="The folder of a job, running or not.")
    ],
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two readings of the files.")
    ] = 2.0,
) -> None:
    """Show curves, rates, ranks or candidates of a job while it runs; ends when the job ends.

    It reads files only, so it works on any machine that sees the folder. Without a terminal it
    prints a line for each interval, or for each run that has ended.
    """
    from rich.console import Console
    from rich.live import Live

    from disttrain.runs.watching import look, news

    console = Console(highlight=False, emoji=False, markup=False)
    view = look(folder)
    if once:
        with written_to(sys.stdout):
            console.print(display(view, console.width))
        return
    if not sys.stdout.isatty():
        told: set[str] = set()
        while True:
            for key, line in news(view):
                if key not in told:
                    told.add(key)
                    say(line)
            if view.is_over:
                say(_status(view))
                return
            time.sleep(every)
            view = look(folder)
    with Live(display(view, console.width), console=console, auto_refresh=False) as live:
        while not view.is_over:
            time.sleep(every)
            view = look(folder)
            live.update(display(view, console.width), refresh=True)


def display(view: OneRun | SeveralRuns, width: int = 80) -> Group:
    """Return what is shown of a job in a terminal of `width` characters."""
    from rich.console import Group
    from rich.text import Text

    from disttrain.runs.watching import OneRun

    parts: list[Any] = [Text(shown(_status(view), 300), style="bold")]
    if isinstance(view, OneRun):
        parts += [_curves(view, width), *([_ranks(view, width)] if view.ranks else [])]
    elif view.runs:
        parts.append(_runs(view, width))
    return Group(*parts)


def _status(view: OneRun | SeveralRuns) -> str:
    """Return one line about how far a job is."""
    from disttrain.runs.watching import OneRun

    if isinstance(view, OneRun):
        status = view.status or "running"
        return f"{view.name}: {status}, epoch {view.epoch:.2f} of {view.epochs or '?'}"
    whole = view.told.get("ensemble")
    if not view.runs and isinstance(whole, dict):
        members, split = view.told.get("members"), view.told.get("split")
        numbers = [f"{key} {decimals(whole[key])}" for key in ("loss", "accuracy")
                   if isinstance(whole.get(key), float | int)]  # fmt: skip
        count = len(members) if isinstance(members, list) else 0
        return f"{view.folder.absolute().name}: {count} members, {', '.join(numbers)} ({split})"
    stopped = view.told.get("status") == "preempted"
    over = sum(run.is_over and run.status != "preempted" for run in view.runs)
    status = "ended" if view.is_over else "running"
    if stopped:
        status = "asked to stop, --resume goes on"
    words = f"{view.folder.absolute().name}: {status}, {over} of {len(view.runs)} begun have ended"
    best = view.told.get("best")
    if isinstance(best, dict) and isinstance(best.get("score"), float | int):
        settings = best.get("settings")
        own = settings.items() if isinstance(settings, dict) else ()
        words += f"; best: candidate {best.get('number')}, {decimals(best['score'])}"
        words += "".join(f", {key} = {value}" for key, value in own)
    return words


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], spare: Sequence[str], width: int
) -> Table:
    """Return rows as a table of at most `width` characters.

    Columns of `spare` for which it has no room are left out, the first ones first.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    cells = [list(columns), *([shown(cell, 60) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    kept = list(range(len(columns)))
    for name in spare:
        if sum(widths[n] + BETWEEN for n in kept) > width:
            kept.remove(columns.index(name))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, n in enumerate(kept):
        table.add_column(columns[n], justify="right" if place else "left", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*(row[n] for n in kept))
    return table


def _curves(run: OneRun, width: int) -> Table:
    """Return each number of the intervals: first, last, and how it went."""
    rows = []
    for key in CURVES:
        values = [r[key] for r in run.history if isinstance(r.get(key), float | int)]
        if values:
            form = ",.0f" if key == "samples_per_second" else ".4g"
            ends = (format(value, form) for value in (values[0], values[-1]))
            rows.append([key.replace("_", " "), *ends, spark(values)])
    columns = ["", "first", "last", "over the epochs"]
    return _table(columns, rows, ["first", "over the epochs"], width)


def spark(values: list[float], width: int = 40) -> str:
    """Return numbers as blocks of eight heights, at most `width`: each the mean of its part."""
    parts = min(width, len(values))
    edges = [n * len(values) // parts for n in range(parts + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(BLOCKS[min(7, int(8 * (mean - low) / span))] for mean in means)


def _ranks(run: OneRun, width: int) -> Table:
    """Return what each rank's journal said last."""
    from disttrain.runs.watching import heard, last

    rows: list[list[object]] = []
    for rank, events in list(run.ranks.items())[:ROWS]:
        cores, ago = last(events, "cores"), heard(events)
        count = len(cores) if isinstance(cores, list) else cores
        rows.append([rank, last(events, "host"), count, last(events, "device"),
                     f"{last(events, 'memory_mib')} MiB", last(events, "event"),
                     "–" if ago is None else f"{ago:.0f} s ago"])  # fmt: skip
    columns = ["rank", "host", "cores", "device", "memory", "last event", "heard"]
    return _table(columns, rows, ["cores", "device", "memory", "host", "last event"], width)


def _runs(view: SeveralRuns, width: int) -> Table:
    """Return the runs, those under way first, then those that ended last."""
    rows: list[list[object]] = []
    order = sorted(view.runs, key=lambda run: run.is_over)
    for run in order[:ROWS]:
        interval = run.history[-1] if run.history else {}
        loss, accuracy = (interval.get(f"validation_{k}") for k in ("loss", "accuracy"))
        losses = [r["validation_loss"] for r in run.history if r["validation_loss"] is not None]
        rows.append([run.name, run.status or "running", f"{run.epoch:.2f}/{run.epochs}",
                     "–" if loss is None else decimals(loss),
                     "–" if accuracy is None else f"{accuracy:.4f}",
                     spark(losses, 20) if losses else ""])  # fmt: skip
    columns = ["run", "status", "epoch", "validation loss", "accuracy", "over the epochs"]
    return _table(columns, rows, ["over the epochs", "epoch", "accuracy", "status"], width)
