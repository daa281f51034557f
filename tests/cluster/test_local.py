"""`disttrain launch` over several hosts, and what breaks them: each run ends, and ends right."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from tests.cli.shell import wait_for
from tests.cluster.conftest import Training
from tests.cluster.hosts import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
HOSTS = "n0,n1,n2"
# Past this a test has hung: deadlines, probes and restarts of one fault take 30 s.
LIMIT = 200


def options(cluster: Cluster, *more: object, hosts: str = HOSTS) -> tuple:
    """Return the options of a launch over the hosts."""
    return ("--hosts", hosts, "--agent", cluster.agent, *more)


def finished(
    cluster: Cluster, process: subprocess.Popen[str], code: int = 0, host: str = "n0"
) -> subprocess.CompletedProcess[str]:
    """Wait for a launch; it ends with `code`, and nothing of it is left on any host that lives."""
    result = cluster.finish(host, process, LIMIT)
    assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    check_clean(cluster)
    return result


def check_clean(cluster: Cluster) -> None:
    """No host that answers has a process or a file of a launch.

    (A launcher that is killed itself leaves its folders, empty.)
    """
    for name, host in cluster.hosts.items():
        if host.answers:
            assert wait_for(lambda name=name: not cluster.running(name)), cluster.running(name)
            left = cluster.run(name, ["find", "/run/tmp", "/dev/shm", "-type", "f"])
            assert left.stdout == ""


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the sentences of disttrain; MPI ends some of its own texts with a zero byte."""
    lines = result.stderr.replace("\0", "\n").splitlines()
    return [line.removeprefix("disttrain: ") for line in lines if line.startswith("disttrain: ")]


def test_hosts(cluster: Cluster, training: Training) -> None:
    """A host file: two ranks on n0, one on n1."""
    training.alone("alone", "--set", "training.epochs=5")
    (training.folder / "nodes").write_text("n0 slots=2\nn1\n")
    launch = ("--hostfile", "nodes", "--agent", cluster.agent)
    short = training.command("--set", "training.epochs=5", launch=launch)
    finished(cluster, cluster.start("n0", short, training.environment))
    summary = training.summary()
    assert (summary["ranks"], summary["environment"]["hosts"]) == (3, ["n0", "n1"])
    training.check_same("out", "alone")
    for entry in training.folder.iterdir():
        assert not entry.name.startswith(".disttrain")


@pytest.mark.parametrize("fault", ["killed", "cut"])
def test_lost(cluster: Cluster, training: Training, fault: str) -> None:
    """A host is lost in mid-run: it goes on with those left, and comes to the same result."""
    training.alone("alone")
    command = training.command(launch=options(cluster, "--restarts", 2))
    process = cluster.start("n0", command, training.environment)
    training.under_way()
    if fault == "cut":
        cluster.cut("n2")
    else:
        cluster.kill("n2")
    result = finished(cluster, process)
    (line,) = said(result)
    assert re.match(r"\d\d:\d\d:\d\d restart 1 of 2 in 1 s: n2 does not answer", line)
    assert re.search(r"2 ranks on n0, n1 after step \d+$", line)
    assert "resuming after step" in result.stdout
    assert training.summary()["environment"]["hosts"] == ["n0", "n1"]
    training.check_same("out", "alone")


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_dies_and_its_host_lives(cluster: Cluster, training: Training, rank: int) -> None:
    """With --fault-tolerance on the others go on, on the same hosts, to the same result."""
    short = ("--set", "training.epochs=10")
    training.alone("alone", *short)
    fault = ("--inject", f"kill:rank={rank},step=200")
    command = training.command(*short, *fault, launch=options(cluster, "--fault-tolerance", "on"))
    result = finished(cluster, cluster.start("n0", command, training.environment))
    assert f"rank {rank} on n{rank} died; 2 ranks go on after step 200" in result.stdout
    assert training.summary()["ranks"] == 2
    training.check_same("out", "alone")


def test_a_host_dies_where_dead_ranks_are_survived(cluster: Cluster, training: Training) -> None:
    """mpirun ends with its host, whatever the ranks could do: a restart goes on."""
    training.alone("alone")
    launch = options(cluster, "--fault-tolerance", "on", "--restarts", 1)
    process = cluster.start("n0", training.command(launch=launch), training.environment)
    training.under_way()
    cluster.kill("n2")
    finished(cluster, process)
    assert training.summary()["environment"]["hosts"] == ["n0", "n1"]
    training.check_same("out", "alone")


def test_no_restarts(cluster: Cluster, training: Training) -> None:
    """Without --restarts a lost host is named, and the code is 5."""
    process = cluster.start("n0", training.command(launch=options(cluster)), training.environment)
    training.under_way()
    cluster.kill("n1")
    (sentence,) = said(finished(cluster, process, code=5))
    assert sentence.startswith("n1 does not answer")
    assert "--resume" in sentence
    assert not (training.folder / "out" / "summary.json").exists()


def test_frozen(cluster: Cluster, training: Training) -> None:
    """A host stands still but its kernel answers: the deadline ends it, mpirun would never."""
    training.alone("alone")
    command = training.command(launch=options(cluster, "--restarts", 1))
    process = cluster.start("n0", command, training.environment)
    training.under_way()
    cluster.freeze("n2")
    result = finished(cluster, process)
    sentences = said(result)
    assert "past the deadline of 5 s" in sentences[0]
    assert "n2 does not answer" in sentences[-1]
    training.check_same("out", "alone")


@pytest.mark.parametrize(("rate", "epochs"), [("100mbit", 3), ("10mbit", 2)])
def test_slow_links(cluster: Cluster, training: Training, rate: str, epochs: int) -> None:
    """Slower, but never hung and never wrong: a step waits for 80 KB each way."""
    changes = ["--set", f"training.epochs={epochs}", "--set", "model.layers=" + WIDE]
    training.alone("alone", *changes)
    cluster.shape(rate)
    command = training.command(*changes, launch=options(cluster))
    finished(cluster, cluster.start("n0", command, training.environment))
    training.check_same("out", "alone")


WIDE = '[{ units = 1000, activation = "tanh" }, { units = 3 }]'


def test_bridges(cluster: Cluster, training: Training) -> None:
    """Docker's bridges have one address on all hosts: messages sent there go nowhere."""
    cluster.bridge()
    changes = ["--set", "training.epochs=2", "--set", "communication.sum=ring"]
    finished(
        cluster,
        cluster.start(
            "n0", training.command(*changes, launch=options(cluster)), training.environment
        ),
    )


def test_asked_to_stop(cluster: Cluster, training: Training) -> None:
    """TERM to the launcher saves on all hosts and ends with 75."""
    command = training.command(launch=options(cluster, "--restarts", 2))
    process = cluster.start("n0", command, training.environment)
    training.under_way()
    (launcher,) = (
        pid for pid, line in cluster.running("n0").items() if "disttrain launch" in line
        and not line.startswith("nsenter")
    )  # fmt: skip
    cluster.signal(launcher, signal.SIGTERM)
    result = finished(cluster, process, code=75)
    assert "asked to stop" in said(result)[0]
    assert training.summary()["status"] == "preempted"


def test_launcher_host_lost(cluster: Cluster, training: Training) -> None:
    """The host of the launcher dies: the others clean up by themselves, and the run goes on."""
    training.alone("alone")
    process = cluster.start("n0", training.command(launch=options(cluster)), training.environment)
    training.under_way()
    cluster.kill("n0")
    process.wait(LIMIT)
    for name in ("n1", "n2"):
        assert wait_for(lambda name=name: not cluster.running(name)), cluster.running(name)
    launch = options(cluster, hosts="n1,n2")
    again = cluster.start("n1", training.command("--resume", launch=launch), training.environment)
    finished(cluster, again, host="n1")
    training.check_same("out", "alone")


def test_stale_files(cluster: Cluster, training: Training) -> None:
    """What a daemon that was killed has left, under process ids to come, is in nobody's way."""
    for pid in range(2, 60):
        cluster.run("n1", ["touch", f"/run/tmp/prted.{pid}", f"/run/tmp/ompi.{pid}"])
    command = training.command("--set", "training.epochs=1", launch=options(cluster))
    result = cluster.run("n0", command, env=training.environment, timeout=LIMIT)
    assert result.returncode == 0, result.stderr


def test_what_is_wrong_with_a_host_is_told(cluster: Cluster, training: Training) -> None:
    """No name, no interpreter, no shared folder: one sentence each, and nothing is started."""
    for hosts, more, code, words in (
        ("n0,n9", (), 5, "n9 does not answer"),
        ("n0,n1", ("--python", "/no/python"), 2, "this host has no such program"),
        ("n1,n2", ("--python", "/no/python"), 2, "n1 has no /no/python"),
        ("n0:1,n1:1", ("-n", 3), 2, "3 ranks don't fit the 2 slots of n0, n1"),
    ):
        command = training.command(launch=options(cluster, *more, hosts=hosts))
        result = finished(cluster, cluster.start("n0", command, training.environment), code)
        (sentence,) = said(result)
        assert words in sentence
    here = cluster.start(
        "n0",
        ["sh", "-c", "mkdir /run/here && cd /run/here && exec \"$@\"", "sh", sys.executable,
         "-m", "disttrain", "launch", *options(cluster), "train", "x.toml"],
        training.environment,
    )  # fmt: skip
    result = cluster.finish("n0", here, LIMIT)
    assert result.returncode == 2
    assert "has no folder /run/here: start in a folder that all hosts share" in said(result)[0]
