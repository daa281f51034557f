"""`disttrain launch`: starts any other command on N ranks under the right mpirun."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.launch import Launcher
    from disttrain.launch.cluster import Cluster
    from disttrain.launch.hosts import Host

__all__ = ["CONTEXT", "command"]

CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
# Commands that know what to do with several ranks.
PARALLEL = ("train", "evaluate", "predict", "check", "inspect", "verify", "doctor", "env")
# Options for several hosts came with Open MPI 5.
HOSTS_SINCE = 5
# More ranks than any job has; a larger number overflows inside mpirun.
MOST = 1_000_000


Arguments = Annotated[
    list[str], typer.Argument(metavar="COMMAND...", help="As in: train RUN.toml --resume")
]
Ranks = Annotated[
    int | None,
    typer.Option(
        "-n", "--ranks", min=1, max=MOST, help="Number of ranks [default: 1, or all slots]."
    ),
]
Hosts = Annotated[str | None, typer.Option(help="Hosts to run on, with slots: n1,n2:4,n3.")]
HostFile = Annotated[Path | None, typer.Option(help="The same as a file, a host per line.")]
Restarts = Annotated[
    int, typer.Option(min=0, help="Start a training that lost ranks again, so many times.")
]
AgentCommand = Annotated[str | None, typer.Option(help="AGENT HOST COMMAND, in place of ssh.")]
Python = Annotated[
    str | None, typer.Option(help="The interpreter, the same on all hosts [default: this one].")
]
Network = Annotated[str | None, typer.Option(help="Between hosts, as in eth1 or 10.0.0.0/16.")]


def command(
    arguments: Arguments,
    ranks: Ranks = None,
    hosts: Hosts = None,
    hostfile: HostFile = None,
    restarts: Restarts = 0,
    agent: AgentCommand = None,
    python: Python = None,
    interface: Network = None,
) -> None:
    """Start a command on N ranks, here or on other hosts; restart a training that lost ranks."""
    from disttrain import stopped
    from disttrain.launch import find_launcher, supervise
    from disttrain.launch.given import check_here

    _check(arguments, restarts)
    stopped.check()
    launcher, cluster = find_launcher(), None
    if hosts is not None or hostfile is not None:
        named = _named(hosts, hostfile)
        cluster = _cluster(launcher, named, ranks, agent, python or sys.executable, interface)
    elif agent is not None or interface is not None:
        raise UsageError("--agent and --interface are for other hosts: give --hosts or --hostfile")
    if python is not None or interface is not None:
        check_here(cluster, python, interface)
    program = [python or sys.executable, "-m", "disttrain", *arguments]
    size = ranks or (cluster.slots if cluster else 1)
    watched, saves = _is_watched("--json" in arguments), arguments[0] == "train"
    raise typer.Exit(supervise(launcher, size, program, watched, saves, restarts, cluster))


def _is_watched(json: bool) -> bool:
    """Return True where a person sees the ranks' lines; make sure that they lead somewhere."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        if stream is None:
            # Closed by whoever started this: mpirun would take its number for a file of its own.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.set_inheritable(number, True)
    stream = sys.stderr if json else sys.stdout
    return stream is not None and stream.isatty()


def _check(arguments: list[str], restarts: int) -> None:
    """Refuse what can't be launched."""
    if arguments[0] not in PARALLEL:
        raise UsageError(
            f"launch starts one of {', '.join(PARALLEL)}, not {arguments[0]!r}: as in "
            "`disttrain launch -n 4 train RUN.toml`"
        )
    if arguments[1:2] in (["-n"], ["--ranks"]):
        raise UsageError(
            f"{arguments[1]} goes before the command: `disttrain launch -n 4 {arguments[0]} ...`"
        )
    if restarts and arguments[0] != "train":
        raise UsageError(f"--restarts is for train, which can go on; {arguments[0]} can't")


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
    """Return the hosts as a place to start ranks on."""
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
