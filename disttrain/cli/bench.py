"""`disttrain bench`: what this machine and its network allow, and what a step takes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli import bench_scaling
from disttrain.cli.bench_scaling import OptionalRunFile, Quick, numbers, refuse_ranks
from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, Set, listen, print_json, say
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.bench.kernels import KernelTimes
    from disttrain.bench.sums import SumTimes
    from disttrain.comm import Communicator
    from disttrain.config import Settings

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Measure kernels, sums over ranks, a step, scaling; predict more."
)


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
    except (ImportError, AttributeError):
        raise UsageError(
            "disttrain was installed without a C compiler, or its C code is older than its Python "
            "code: numpy does the work of the kernels, and there is nothing to compare"
        ) from None
    from disttrain.bench.turns import machine

    before, found = machine(), measure(5 if quick else 30, widths)
    if as_json:
        print_json({"machine": before, "kernels": [dataclasses.asdict(one) for one in found]})
        return
    builds = list(found[0].compiled)
    print_table(
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
    print_table(
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
    way = f"; gradients added by: {found.way}" if found.way != "none" else ""
    say(f"  {facts['samples_per_second']:,.0f} samples a second{way}")
    say(before)


EXPLAINED = {
    "floor": "the matrix products of one rank's share of the batch, and nothing else",
    "compute": "a whole step on this share, without the other ranks",
    "step": "the step of all ranks together",
    "waiting": "what the other ranks cost: the sum, and waiting for the slowest",
}


app.command("scaling")(bench_scaling.command)


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


def refuse_one_rank(comm: Communicator) -> None:
    """Raise UsageError where there is nothing to add."""
    if comm.size == 1:
        raise UsageError("one rank has nothing to add: disttrain launch -n 2 bench allreduce")


def hosts_in_words(comm: Communicator) -> str:
    """Return "one host" or "3 hosts"."""
    return "one host" if len(comm.hosts) == 1 else f"{len(comm.hosts)} hosts"


def in_words(settings: Settings) -> str:
    """Return the network and the batch in a few words."""
    layers = settings.model.layers
    units = "-".join(str(getattr(layer, "units", layer.kind)) for layer in layers)
    model = settings.model
    return f"layers of {units} units, batch {settings.training.batch_size}, {model.dtype}"


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a title and the rows under their heads."""
    say(title)
    for line in columns([heads, *rows]):
        say(line)
