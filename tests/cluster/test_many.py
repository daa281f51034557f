"""A host is lost of many, one rank each: 16 in CI, more by DISTTRAIN_TEST_HOSTS.

All hosts share this kernel's table of neighbours: from about a hundred on it overflows ("No route
to host") unless net.ipv4.neigh.default.gc_thresh1 to 3 are raised.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.shell import wait_for
from tests.cluster.conftest import Training
from tests.cluster.hosts import Cluster
from tests.cluster.test_local import said

HOSTS = int(os.environ.get("DISTTRAIN_TEST_HOSTS", "16"))
# Seconds for each attempt: Python starts on every host, and all of them share this machine.
EACH = 30 + 3 * HOSTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(30 + 3 * EACH)]


def test_a_host_of_many_is_lost(namespaces: None, training: Training, tmp_path: Path) -> None:
    changes = ["--set", "training.epochs=6", "--set", f"reproducibility.leaves={max(HOSTS, 8)}"]
    changes += ["--set", f"training.batch_size={4 * HOSTS}"]
    # A host that waits for a hundred others on this machine waits longer than any real one.
    changes += ["--set", f"communication.deadline_seconds={EACH}"]
    training.alone("alone", *changes)
    with Cluster(HOSTS, tmp_path) as cluster:
        launch = ("--hosts", ",".join(cluster.hosts), "--agent", cluster.agent, "--restarts", 1)
        process = cluster.start(
            "n0", training.command(*changes, launch=launch), training.environment
        )
        checkpoints = training.folder / "out" / "checkpoints"
        assert wait_for(lambda: list(checkpoints.glob("step-*.h5")), EACH)
        lost = f"n{HOSTS // 2}"
        cluster.kill(lost, silent=True)
        result = cluster.finish("n0", process, 2 * EACH)
    assert result.returncode == 0, result.stderr
    (sentence,) = said(result)
    assert f"{lost} does not answer" in sentence
    assert f"{HOSTS - 1} ranks on n0, n1" in sentence
    assert training.summary()["ranks"] == HOSTS - 1
    training.check_same("out", "alone")
