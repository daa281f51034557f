"""Scenarios in which a node is lost in mid-run: the run goes on with those that are left."""

from __future__ import annotations

import re

from tests.cluster.docker.agreement import HOSTS
from tests.cluster.docker.card import expect
from tests.cluster.docker.training import LONG, Launched, Training

__all__ = ["daemon_killed", "head_killed", "network_cut", "worker_killed", "worker_paused"]


def worker_killed(training: Training) -> str:
    """A container is killed: restarted on the others, the same digest."""
    nodes, lost = training.nodes, training.nodes.names[-1]
    job = _begun(training, "killed")
    nodes.kill(lost)
    job.finish()
    nodes.revive(lost)
    return _gone_on(training, job, "killed", lost)


def head_killed(training: Training) -> str:
    """The head dies, with the launcher: the workers end by themselves, and one takes over."""
    nodes, (head, *left) = training.nodes, training.nodes.names
    job = _begun(training, "headless")
    nodes.kill(head)
    job.finish(None)
    nodes.names = left
    try:
        still = nodes.are_clean()
        expect(not still, still)
        again = training.start(
            "headless", "--hosts", ",".join(left), epochs=LONG, node=left[0], resume=True
        )
        again.finish()
    finally:
        nodes.names = [head, *left]
        nodes.revive(head)
    expect(nodes.are_ready(), "the head does not come back")
    training.check("headless", left, LONG)
    return f"went on from {left[0]}"


def worker_paused(training: Training) -> str:
    """A container stands still: the stall is named, and the run goes on without it."""
    nodes, lost = training.nodes, training.nodes.names[-1]
    job = _begun(training, "paused")
    nodes.pause(lost)
    job.finish()
    job.said("past the deadline of 8 s")
    nodes.unpause(lost)
    return _gone_on(training, job, "paused", lost)


def network_cut(training: Training) -> str:
    """A container loses its network: noticed by the keepalive, and the run goes on without it."""
    nodes, lost = training.nodes, training.nodes.names[-1]
    job = _begun(training, "cut")
    nodes.cut(lost)
    job.finish()
    nodes.mend(lost)
    return _gone_on(training, job, "cut", lost)


def daemon_killed(training: Training) -> str:
    """A daemon dies and leaves its files, under ids to come too: the next launch works."""
    nodes, worker = training.nodes, training.nodes.names[1]
    job = training.start("daemon", *HOSTS, epochs=LONG)
    training.under_way("daemon")
    nodes.signal(worker, "prted", "KILL")
    job.finish(5)
    for node in nodes.names:
        stale = "for i in $(seq 2 2000); do touch /tmp/prted.$i /tmp/ompi.$i; done"
        nodes.run(node, "sh", "-c", stale)
    try:
        training.start("daemon", *HOSTS, epochs=LONG, resume=True).finish()
        training.check("daemon", nodes.names, LONG)
    finally:
        for node in nodes.names:
            nodes.run(node, "sh", "-c", "rm -f /tmp/prted.* /tmp/ompi.*")
    return "5, then on all nodes"


def _begun(training: Training, output: str) -> Launched:
    """Start a training on all nodes that may be restarted, and wait until it is under way."""
    job = training.start(output, *HOSTS, "--restarts", "2", epochs=LONG)
    training.under_way(output)
    return job


def _gone_on(training: Training, job: Launched, output: str, lost: str) -> str:
    """The launch lost that node, named it, went on from a checkpoint and completed the run."""
    line = job.said("restart 1 of")
    expect(lost in line, f"{lost} is not named: {line}")
    expect(re.search(r"after step \d+$", line) is not None, f"not from a checkpoint: {line}")
    left = [name for name in training.nodes.names if name != lost]
    training.check(output, left, LONG)
    return line.partition(" ")[2]
