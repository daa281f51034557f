"""Scenarios without a fault: many nodes come to what one comes to, in one shared folder."""

from __future__ import annotations

from tests.cluster.docker.card import expect
from tests.cluster.docker.training import LONG, Training

__all__ = ["plain_mpirun", "same_digest", "shared_folder", "stopped_and_resumed"]

HOSTS = ("--hostfile", "hosts")


def same_digest(training: Training) -> str:
    """One rank, one on each node, and one more on the head: one digest."""
    names, ranks = training.nodes.names, []
    uneven = ",".join(["head:2", *names[1:]])
    for output, launch in (("all", HOSTS), ("uneven", ("--hosts", uneven))):
        training.start(output, *launch).finish()
        training.check(output, names)
        ranks.append(training.summary(output)["ranks"])
    expect(ranks == [len(names), len(names) + 1], f"ranks were {ranks}")
    return f"1, {ranks[0]} and {ranks[1]} ranks"


def plain_mpirun(training: Training) -> str:
    """`mpirun` itself, with the host file, from the head."""
    count = str(len(training.nodes.names))
    options = ["--hostfile", "hosts", "-n", count, "--bind-to", "none"]
    before = ["mpirun", *options, "--mca", "mpi_yield_when_idle", "1", "disttrain"]
    training.start("plain", before=before).finish()
    training.check("plain", training.nodes.names)
    return f"{count} ranks"


def shared_folder(training: Training) -> str:
    """Every node sees the run folder and finds it whole."""
    nodes, seen = training.nodes, set()
    sums = "cd all && find . -type f | sort | xargs md5sum"
    for node in nodes.names:
        nodes.run(node, "disttrain", "verify", "all")
        seen.add(nodes.run(node, "sh", "-c", sums).stdout)
    expect(len(seen) == 1, "nodes see different files")
    files = nodes.run("head", "ls", "all", "all/checkpoints").stdout.split()
    for name in ("run.toml", "metrics.jsonl", "summary.json", "best.h5"):
        expect(name in files, f"there is no {name}")
    saved = [name for name in files if name.startswith("step-")]
    expect(bool(saved), "there is no checkpoint")
    return f"the same bytes on {len(nodes.names)} nodes, newest {saved[-1]}"


def stopped_and_resumed(training: Training) -> str:
    """TERM to the launcher saves and ends with 75; another node goes on with fewer."""
    job = training.start("stopped", *HOSTS, epochs=LONG)
    training.under_way("stopped")
    training.nodes.signal("head", "bin/disttrain launch", "TERM")
    job.finish(75)
    expect(training.summary("stopped")["status"] == "preempted", "the summary does not say so")
    hosts = training.nodes.names[1:]
    again = training.start(
        "stopped", "--hosts", ",".join(hosts), epochs=LONG, node=hosts[0], resume=True
    )
    again.finish()
    training.check("stopped", hosts, LONG)
    return f"75, then on {', '.join(hosts)}"
