"""`disttrain bench`: what this machine and its network allow, and what a step takes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import AsJson, Set, listen, print_json, say
from disttrain.environment import launched
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.bench.kernels import KernelTimes
    from disttrain.bench.scaling import Scaling
    from disttrain.bench.sums import SumTimes
    from disttrain.comm import Communicator
    from disttrain.config import Settings

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Measure kernels, sums over ranks, a step, scaling; predict more."
)
Quick = Annotated[bool, typer.Option("--quick", help="Fewer rounds and sizes.")]
OptionalRunFile = Annotated[
    Path | None, typer.Argument(metavar="[RUN.toml]", help="Else a network 784-800-10, batch 128.")
]


@app.command("kernels")
def kernels(
    quick: Quick = False,
    widths: Annotated[
        bool, typer.Option(help="Also built for each set of vector instructions (needs gcc).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Time each kernel beside numpy, and beside a copy of as many bytes."""
    refuse_ranks("kernels")
    try:
        from disttrain.bench.kernels import measure
    except ImportError:
        raise UsageError(
            "disttrain was installed without a C compiler: numpy does the work of the kernels, and "
            "there is nothing to compare"
        ) from None
    from disttrain.bench.turns import machine

    before, found = machine(), measure(5 if quick else 30, widths)
    if as_json:
        print_json({"machine": before, "kernels": [dataclasses.asdict(one) for one in found]})
        return
    builds = list(found[0].compiled)
    print_rows(
        "microseconds, medians of interleaved rounds; `copy`: as many bytes read and written",
        ["kernel", "numpy", *builds, "slowest/numpy", "copy/installed"],
        [kernel_row(one) for one in found],
    )
    say(before)


def kernel_row(one: KernelTimes) -> list[str]:
    """Return the cells of one kernel."""
    times = [f"{1e6 * seconds:.0f}" for seconds in (one.numpy, *one.compiled.values())]
    copy = one.copied / one.compiled["installed"]
    return [f"{one.name} {one.dtype}", *times, f"{one.slowest:.2f}", f"{copy:.2f}"]


@app.command("allreduce")
def allreduce(quick: Quick = False, as_json: AsJson = False) -> None:
    """Time each way to add a message over the ranks: bus bandwidth, share of the bound."""
    from disttrain.bench.sums import SIZES, link, measure
    from disttrain.bench.turns import machine
    from disttrain.comm import connect

    comm, before = connect(), machine()
    refuse_one_rank(comm)
    listen()
    found = [measure(comm, length, 5 if quick else 0) for length in SIZES[: 2 if quick else None]]
    between = link(comm, found[-1].bytes)
    facts = {
        "machine": before, "mpi": comm.library, "ranks": comm.size, "hosts": len(comm.hosts),
        "link": dataclasses.asdict(between),
    }  # fmt: skip
    if not comm.is_root:
        return
    if as_json:
        print_json({**facts, "sums": [sum_object(one) for one in found]})
        return
    print_rows(
        f"the sum of a float32 message over {comm.size} ranks of {hosts_in_words(comm)}",
        ["MB", "way", "ms", "GB/s of the bus", "share of the bound"],
        [row for one in found for row in sum_rows(one)],
    )
    say(
        f"between neighbours, all ranks at once: latency {1e6 * between.latency:.1f} us, bandwidth "
        f"{between.bandwidth / 1e9:.2f} GB/s ({comm.library})"
    )
    say(before)


def sum_rows(one: SumTimes) -> Iterator[list[str]]:
    """Yield the cells of each way for one size of message."""
    for way, seconds in one.seconds.items():
        bus = f"{one.bus_bandwidth(way) / 1e9:.2f}"
        yield [f"{one.bytes / 1e6:.1f}", way, f"{1e3 * seconds:.3f}", bus, f"{one.share(way):.0%}"]


def sum_object(one: SumTimes) -> dict[str, Any]:
    """Return one size of message as plain values."""
    return dataclasses.asdict(one) | {
        "bus_bandwidth": {way: one.bus_bandwidth(way) for way in one.seconds},
        "share_of_the_bound": {way: one.share(way) for way in one.seconds},
    }


@app.command("step")
def step(
    run_file: OptionalRunFile = None,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    rows: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="On one rank: also steps of so many rows."),
    ] = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Time a training step: its matrix products, its computation, and what the ranks cost it."""
    from disttrain.bench.step import compute_times, measure
    from disttrain.bench.sums import link
    from disttrain.bench.turns import machine
    from disttrain.comm import connect

    comm, before = connect(), machine()
    listen()
    with settings_of(run_file, set_, comm) as settings:
        found = measure(settings, comm, quick)
        facts = dataclasses.asdict(found) | {
            "machine": before, "mpi": comm.library, "waiting": found.waiting, "link": None,
            "samples_per_second": found.rows / found.step, "network": in_words(settings),
        }  # fmt: skip
        if comm.size > 1:
            facts["link"] = dataclasses.asdict(link(comm, found.message))
        elif rows is not None:
            facts["compute_of_rows"] = compute_times(settings, numbers(rows, "--rows"), quick)
    if not comm.is_root:
        return
    if as_json:
        print_json(facts)
        return
    say(f"{facts['network']}: {comm.size} rank{'s' * (comm.size > 1)} on {hosts_in_words(comm)}")
    for name, what in EXPLAINED.items():
        if facts[name] is not None:
            say(f"  {name:10}{1e3 * facts[name]:9.3f} ms   {what}")
    for count, seconds in facts.get("compute_of_rows", {}).items():
        say(f"  {count:5} rows{1e3 * seconds:9.3f} ms")
    say(f"  {facts['samples_per_second']:,.0f} samples a second; gradients added by: {found.way}")
    say(before)


EXPLAINED = {
    "floor": "the matrix products of one rank's share of the batch, and nothing else",
    "compute": "a whole step on this share, without the other ranks",
    "step": "the step of all ranks together",
    "waiting": "what the other ranks cost: the sum, and waiting for the slowest",
}


@app.command("scaling")
def scaling(
    run_file: OptionalRunFile = None,
    ranks: Annotated[
        str, typer.Option("-n", "--ranks", metavar="N,N,...", help="Measure on so many ranks.")
    ] = "1,2",
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    launching: Annotated[
        str, typer.Option("--launch", metavar="OPTIONS", help='As in "--hosts n1,n2:4".')
    ] = "",
    latency: Annotated[
        float | None, typer.Option(min=0, help="Of the network to predict for, in microseconds.")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(min=1e-6, help="Its bandwidth a rank, in GB/s.")
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
    from disttrain.bench.sums import Link
    from disttrain.bench.turns import machine

    between = None
    if (latency is None) != (bandwidth is None):
        raise UsageError("give --latency and --bandwidth together: both belong to one network")
    if latency is not None and bandwidth is not None:
        between = Link(latency * 1e-6, bandwidth * 1e9)
    counts, before = numbers(ranks, "-n"), machine()
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
    print_rows(
        f"a step of {found.batch} samples; {found.threads} BLAS thread(s) a rank",
        [*heads, "best batch"], rows,
    )  # fmt: skip
    link = found.machine.link
    say(
        f"predicted for a message of {found.machine.message / 1e6:.2f} MB, latency "
        f"{1e6 * link.latency:.1f} us and bandwidth {link.bandwidth / 1e9:.2f} GB/s; best batch: "
        "the smallest of 80 % efficiency"
    )
    say(before)


# ---- what the commands share


@contextlib.contextmanager
def settings_of(run_file: Path | None, set_: list[str], comm: Communicator) -> Iterator[Settings]:
    """Yield the settings of the run file, or of an example on noise. Collective."""
    from disttrain import config
    from disttrain.bench.step import example

    with tempfile.TemporaryDirectory(prefix="disttrain-bench-") as folder:
        with comm.together("configuration"):
            if run_file is None and set_:
                raise UsageError("--set changes a run file: name one")
            settings = config.read(run_file, set_) if run_file else example(Path(folder))
        yield settings


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


def refuse_one_rank(comm: Communicator) -> None:
    """Raise UsageError where there is nothing to add."""
    if comm.size == 1:
        raise UsageError("one rank has nothing to add: disttrain launch -n 2 bench allreduce")


def hosts_in_words(comm: Communicator) -> str:
    """Return "one host" or "3 hosts"."""
    return "one host" if len(comm.hosts) == 1 else f"{len(comm.hosts)} hosts"


def in_words(settings: Settings) -> str:
    """Return the network and the batch in a few words."""
    units = "-".join(str(layer.units) for layer in settings.model.layers)
    model = settings.model
    return f"layers of {units} units, batch {settings.training.batch_size}, {model.dtype}"


def print_rows(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a table: a title, and columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    align: Callable[[str, int], str] = str.rjust
    say(title)
    for cells in (heads, *rows):
        say("  ".join(align(cell, width) for cell, width in zip(cells, widths, strict=True)))
