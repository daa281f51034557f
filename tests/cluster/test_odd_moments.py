"""`disttrain launch` over hosts, and what goes wrong beside the training: it ends, and says how."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.shell import wait_for
from tests.cluster.conftest import Training
from tests.cluster.hosts import Cluster
from tests.cluster.test_local import LIMIT, finished, options, said

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
SHORT, ENDLESS = ("--set", "training.epochs=2"), ("--set", "training.epochs=100000")
# An agent that does what WHEN says of a command, and else what agents do.
AGENT = "#!/bin/sh\n{when}\nexec {agent} \"$@\"\n"  # fmt: skip


def agent(cluster: Cluster, folder: Path, when: str) -> str:
    """Write an agent and return its path."""
    path = folder / "agent"
    path.write_text(AGENT.format(when=when, agent=cluster.agent))
    path.chmod(0o755)
    return str(path)


def launcher(cluster: Cluster, host: str = "n0") -> int:
    """Return the process of the launcher on a host."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [p for p, line in cluster.running(host).items()
                    if line.startswith(sys.executable) and " launch " in line]  # fmt: skip
        return bool(found)

    assert wait_for(is_there)
    return found[0]


def left_on(cluster: Cluster, host: str) -> str:
    """Return what lies where launches have their files, folders too."""
    return cluster.run(host, ["find", "/run/tmp", "/dev/shm", "-mindepth", "1"]).stdout


def test_a_launcher_on_a_host_without_ranks(cluster: Cluster, training: Training) -> None:
    """As from a login node: nothing is left there either, also after a fault."""
    launch = options(cluster, hosts="n1,n2")
    finished(cluster, cluster.start("n0", training.command(*SHORT, launch=launch),
                                    training.environment))  # fmt: skip
    assert left_on(cluster, "n0") == ""
    command = training.command(*ENDLESS, "--overwrite", launch=launch)
    process = cluster.start("n0", command, training.environment)
    training.under_way()
    cluster.kill("n2")
    finished(cluster, process, code=5)
    assert left_on(cluster, "n0") == ""
    assert not list(training.folder.glob(".disttrain*"))


def in_a_read_only_folder(cluster: Cluster, training: Training, *words: object) -> list[object]:
    """Return a command that does `launch WORDS` in a folder in which nobody can write."""
    for name in cluster.hosts:
        script = "mkdir /run/ro && mount --bind . /run/ro && mount -o remount,ro,bind /run/ro"
        cluster.run(name, ["sh", "-c", script])
    program = [sys.executable, "-m", "disttrain", "launch"]
    return ["sh", "-c", 'cd /run/ro && exec "$@"', "sh", *program, *words]


def test_a_folder_in_which_nobody_can_write(cluster: Cluster, training: Training) -> None:
    """The ranks leave their signs beside the run; a command that writes nothing needs none."""
    hosts = options(cluster, hosts="n1,n2")
    check = in_a_read_only_folder(cluster, training, *hosts, "check", "run.toml")
    result = finished(cluster, cluster.start("n0", check, training.environment))
    assert "ready to train" in result.stdout
    train = ("train", "run.toml", "--output", training.folder / "out", *ENDLESS)
    command = [*check[: check.index("check")], *train]
    process = cluster.start("n0", command, training.environment)
    training.under_way()
    cluster.freeze("n2")
    sentences = said(finished(cluster, process, code=5))
    assert "past the deadline of 5 s" in sentences[0]
    assert "n2 does not answer" in sentences[-1]


def test_a_finished_run_whose_hosts_then_go(cluster: Cluster, training: Training) -> None:
    """Nobody answers when it is cleaned up: what was completed is completed."""
    over = training.folder / "out" / "summary.json"
    when = f'case "$*" in *" clean "*) test ! -e {over} || exit 255;; esac'
    launch = ("--hosts", "n1", "--agent", agent(cluster, training.folder, when))
    process = cluster.start("n0", training.command(*SHORT, launch=launch), training.environment)
    assert cluster.finish("n0", process, LIMIT).returncode == 0
    assert training.summary()["status"] == "completed"


def test_ctrl_c_while_hosts_are_asked(cluster: Cluster, training: Training) -> None:
    """A terminal sends it to the agents too; a host that does not answer is not waited for."""
    when = 'case "$*" in "n1 "*" begin "*) exec sleep 100;; esac'
    launch = ("--hosts", "n0,n1", "--agent", agent(cluster, training.folder, when))
    command = ["setsid", "--wait", *training.command(*SHORT, launch=launch)]
    process = cluster.start("n0", command, training.environment)
    assert wait_for(lambda: any("sleep 100" in line for line in cluster.running("n0").values()))
    os.killpg(os.getpgid(launcher(cluster)), signal.SIGINT)
    result = finished(cluster, process, code=75)
    assert said(result) == [
        "asked to stop (SIGINT) before the ranks were started: nothing was changed"
    ]
    assert not (training.folder / "out").exists()


def test_a_terminal_that_closes(cluster: Cluster, training: Training) -> None:
    command = training.command(*ENDLESS, launch=options(cluster))
    # These tests may run under nohup, which has it ignored, by launchers too.
    hears = ["env", "--default-signal=HUP", *command]
    process = cluster.start("n0", hears, training.environment)
    training.under_way()
    cluster.signal(launcher(cluster), signal.SIGHUP)
    finished(cluster, process, code=75)
    assert training.summary()["status"] == "preempted"
    assert not list(training.folder.glob(".disttrain*"))


def test_a_host_that_is_of_no_use_after_a_fault(cluster: Cluster, training: Training) -> None:
    """It is up again without the folder that all share: the others go on."""
    training.alone("alone")
    gone = training.folder / "gone"
    when = f'case "$*" in "n2 "*" begin "*) test ! -e {gone} || exit 3;; esac'
    launch = options(cluster, "--restarts", 2)
    launch = ("--hosts", launch[1], *launch[4:], "--agent", agent(cluster, training.folder, when))
    process = cluster.start("n0", training.command(launch=launch), training.environment)
    training.under_way()
    gone.touch()
    for pid in cluster.running("n2"):
        cluster.signal(pid, signal.SIGKILL)
    sentences = said(finished(cluster, process))
    assert "n2 has no folder" in sentences[-1]
    assert training.summary()["environment"]["hosts"] == ["n0", "n1"]
    training.check_same("out", "alone")
