"""`disttrain bench scaling`: steps on several numbers of ranks, and a prediction for more."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, Set, print_json, say
from disttrain.environment import launched
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.bench.scaling import Scaling
    from disttrain.bench.sums import Link

__all__ = ["OptionalRunFile", "Quick", "command", "numbers", "refuse_ranks"]

Quick = Annotated[bool, typer.Option("--quick", help="Fewer rounds and sizes.")]
OptionalRunFile = Annotated[
    Path | None, typer.Argument(metavar="[RUN.toml]", help="Else a network 784-800-10, batch 128.")
]


def command(
    run_file: OptionalRunFile = None,
    ranks: Annotated[
        str, typer.Option("-n", "--ranks", metavar="N,N,...", help="Measure on so many ranks.")
    ] = "1,2",
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    launching: Annotated[
        str, typer.Option("--launch", metavar="OPTIONS", help='As in "--hosts n1,n2:4".')
    ] = "",
    latency: Annotated[
        float | None, typer.Option(min=0, help="Predict for a network of this latency (us).")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(min=1e-6, help="Its bandwidth for each rank, in GB/s.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the table into this .png or .svg.")
    ] = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Measure steps on several numbers of ranks, and predict them for up to 4,096."""
    refuse_ranks("scaling")
    from disttrain.bench.scaling import measure
    from disttrain.bench.turns import machine

    counts, before, between = numbers(ranks, "-n"), machine(), network_of(latency, bandwidth)
    if between is None and max(counts) == 1:
        raise UsageError(
            "one rank says nothing of a network: measure more, as in -n 1,2, or give --latency and "
            "--bandwidth"
        )
    words = [str(run_file)] if run_file else []
    words += [word for one in set_ for word in ("--set", one)] + ["--quick"] * quick
    found = measure(
        words, counts, shlex.split(launching), between, lambda line: say(line, as_json=True)
    )
    if picture:
        from disttrain.report.scaling import draw

        draw(found.predicted, found.measured, picture)
    if as_json:
        print_json(dataclasses.asdict(found) | {"machine_name": before})
        return
    print_scaling(found, before)


def network_of(latency: float | None, bandwidth: float | None) -> Link | None:
    """Return the network of the options; None where there are none."""
    from disttrain.bench.sums import Link

    if (latency is None) != (bandwidth is None):
        raise UsageError("give --latency and --bandwidth together: both belong to one network")
    return None if latency is None or bandwidth is None else Link(latency * 1e-6, bandwidth * 1e9)


def print_scaling(found: Scaling, before: str) -> None:
    """Print the table, and by what it was predicted."""
    rows = []
    for one in found.predicted:
        measured = [m["step"] for m in found.measured if m["ranks"] == one.ranks]
        error = found.error(one.ranks)
        rows.append([
            str(one.ranks), f"{1e3 * measured[0]:.3f}" if measured else "-",
            f"{1e3 * one.seconds:.3f}", "-" if error is None else f"{error:+.0%}",
            f"{one.samples_per_second:,.0f}", f"{one.efficiency:.0%}",
            f"{one.best_batch:,}" if one.best_batch else "none",
        ])  # fmt: skip
    heads = ["ranks", "measured ms", "predicted ms", "error", "samples/s", "efficiency"]
    say(f"a step of {found.batch} samples; {found.threads} BLAS thread(s) a rank")
    for line in columns([[*heads, "best batch"], *rows]):
        say(line)
    link, shared = found.machine.link, found.machine.shared
    factors = f" and {shared / 1e3:.1f} kB a sample" if shared else ""
    say(
        f"predicted for a message of {found.machine.message / 1e6:.2f} MB{factors}, latency "
        f"{1e6 * link.latency:.1f} us and bandwidth {link.bandwidth / 1e9:.2f} GB/s; best batch: "
        "the smallest of 80 % efficiency"
    )
    say(before)


def numbers(text: str, option: str) -> list[int]:
    """Return the numbers of "1,2,4", in order, each once."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and 0 < int(word) <= 1 << 24 for word in words):
        raise UsageError(f"{option} {text}: give numbers from 1, with commas, as in 1,2,4")
    return sorted({int(word) for word in words})


def refuse_ranks(name: str) -> None:
    """Raise UsageError under a launcher: the command starts what it needs by itself."""
    job = launched()
    if job and job.size != 1:
        raise UsageError(f"bench {name} is for one process: start it without a launcher")
