"""A shared volume that is full: a clear error, and what was saved before is whole."""

from __future__ import annotations

import json

from tests.cluster.docker.agreement import HOSTS
from tests.cluster.docker.card import expect
from tests.cluster.docker.training import LONG, Training

__all__ = ["full_volume"]


def full_volume(training: Training) -> str:
    """The volume fills up in mid-run; with room again, the run goes on to the same digest."""
    nodes, output = training.nodes, "/small/run"
    job = training.start(output, *HOSTS, epochs=LONG)
    training.under_way(output)
    nodes.run("head", "sh", "-c", "cat /dev/zero > /small/filler", check=False)
    job.finish(3)
    line = job.said("No space left on device")
    verified = nodes.run("head", "disttrain", "verify", output, "--json", check=False)
    facts = json.loads(verified.stdout)
    wrong = [file["path"] for file in facts["files"] if not file["whole"]]
    torn = [path for path in wrong if "step-" in path]
    expect(not torn, f"not whole: {torn}")
    expect(bool(facts["resume"]), "there is no checkpoint to go on from")
    nodes.run("head", "rm", "/small/filler")
    training.start(output, *HOSTS, epochs=LONG, resume=True).finish()
    training.check(output, nodes.names, LONG)
    nodes.run("head", "rm", "-r", output)
    return line
