"""`disttrain template`: a batch script or a host file for a run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import put, say
from disttrain.errors import UsageError

__all__ = ["command"]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="slurm, slurm-srun, flux, pbs, lsf, gridengine, kubernetes, kubeflow-trainer, hosts.",
    ),
]
Ranks = Annotated[
    int | None, typer.Option("--ranks", "-n", min=1, help="All ranks [default: one per node].")
]
Nodes = Annotated[int, typer.Option("--nodes", "-N", min=1, help="How many nodes.")]
Time = Annotated[
    str, typer.Option("--time", "-t", help="Time limit: 01:30:00, 90 (minutes), 1-12:00:00.")
]
Memory = Annotated[str, typer.Option("--memory", "--mem", help="Memory of a node, as in 64G.")]
Partition = Annotated[
    str, typer.Option("--partition", "--queue", "-p", "-q", help="Partition or queue.")
]
Account = Annotated[
    str, typer.Option("--account", "--project", "-A", help="Account to be charged.")
]
Program = Annotated[
    str, typer.Option(help="The command on the nodes [default: this one, by its full path].")
]
Gres = Annotated[str, typer.Option(help="Slurm: what a node needs, as in gpu:a100:4.")]
Modules = Annotated[
    list[str], typer.Option(metavar="NAME", help="Load this module first, as in openmpi/5.0.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file to write to, not the terminal.")
]


def command(
    name: Name,
    run_file: Annotated[Path, typer.Argument(metavar="[RUN.toml]")] = Path("RUN.toml"),
    ranks: Ranks = None,
    nodes: Nodes = 1,
    cpus: Annotated[int, typer.Option(min=1, help="Cores for each rank.")] = 1,
    gpus: Annotated[bool, typer.Option("--gpus", help="A GPU for each rank.")] = False,
    gpu_type: Annotated[
        str, typer.Option(metavar="NAME", help="GPUs of this kind, as in a100; implies --gpus.")
    ] = "",
    gres: Gres = "",
    module: Modules = [],  # noqa: B006 - typer reads the default, nobody writes to it
    time: Time = "01:00:00",
    memory: Memory = "",
    partition: Partition = "",
    account: Account = "",
    program: Program = "",
    output: Output = None,
) -> None:
    """Print a batch script, an MPIJob or a host file, filled in for a run."""
    from disttrain.launch.template import Site, fill

    title, wants_gpu = _asked_by(run_file)
    site = Site(
        str(run_file), title, ranks or nodes, nodes, time, program or _this(), cpus,
        gpus or wants_gpu or gpu_type != "", memory=memory, partition=partition, account=account,
        gpu_type=gpu_type, gres=gres, modules=tuple(module),
    )  # fmt: skip
    if output and output.exists() and run_file.exists() and output.samefile(run_file):
        raise UsageError(f"--output {output} is the run file itself: choose another name")
    text = fill(name, site, str(output) if output else None)
    if output is None:
        put(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}") from None
    say(f"{output} written")


def _asked_by(run_file: Path) -> tuple[str, bool]:
    """Return the name of the run and whether it insists on a GPU."""
    if run_file == Path("RUN.toml") and not run_file.exists():
        return "disttrain", False
    from disttrain import config

    settings = config.read(run_file)
    return settings.name, settings.device.kind == "gpu"


def _this() -> str:
    """Return the full path of the command beside this Python, else its name."""
    beside = Path(sys.executable).with_name("disttrain")
    return str(beside) if beside.exists() else shutil.which("disttrain") or "disttrain"
