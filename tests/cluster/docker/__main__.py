"""`python -m tests.cluster.docker [SCENARIO...] [--keep]`: the score-card of the cluster."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence

from tests.cluster.docker import agreement, disk, faults, links, pods
from tests.cluster.docker.card import Card, Failed
from tests.cluster.docker.nodes import Nodes
from tests.cluster.docker.training import Training

# Name, limit in seconds, scenario. The limits are for hangs: a busy machine may take its time.
SCENARIOS: tuple[tuple[str, float, Callable[[Training], str]], ...] = (
    ("same digest on one and many nodes", 150, agreement.same_digest),
    ("plain mpirun with a host file", 120, agreement.plain_mpirun),
    ("one shared folder", 120, agreement.shared_folder),
    ("pods of the MPI Operator", 150, pods.operator),
    ("stopped, resumed on others", 150, agreement.stopped_and_resumed),
    ("worker killed", 150, faults.worker_killed),
    ("head killed", 150, faults.head_killed),
    ("worker paused", 150, faults.worker_paused),
    ("network cut", 150, faults.network_cut),
    ("daemon killed, stale files", 150, faults.daemon_killed),
    ("100 Mbit/s", 120, links.rate_100),
    ("10 Mbit/s", 120, links.rate_10),
    ("1 % loss", 120, links.loss),
    ("20 ms delay and 1 % loss", 120, links.delay),
    ("full volume", 150, disk.full_volume),
)
WORKERS = 3
# Seconds for all scenarios together; building the image is not counted.
ALL = 900


def main(arguments: Sequence[str]) -> int:
    """Build and start the cluster, play the scenarios, remove it; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.cluster.docker", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="words of the names to play; all without")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    asked = parser.parse_args(arguments)
    chosen = [
        one for one in SCENARIOS if not asked.scenario or any(w in one[0] for w in asked.scenario)
    ]
    if not chosen:
        parser.error(f"no scenario has {asked.scenario} in its name")
    nodes = Nodes(WORKERS)
    try:
        nodes.up()
        training = Training(nodes)
        training.prepare()
        card = Card(ALL, functools.partial(print, flush=True))
        for name, limit, scenario in chosen:
            if not nodes.are_ready():
                nodes.restart()
            if not card.play(name, limit, functools.partial(scenario, training)):
                nodes.restart()
    except Failed as error:
        print(f"no cluster: {error}", file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            nodes.down()
    return card.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
