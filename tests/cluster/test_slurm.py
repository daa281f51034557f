"""The Slurm scripts of `disttrain template` under a real Slurm: limits, requeues, lost nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import wait_for
from tests.cluster.conftest import Training
from tests.cluster.hosts import Cluster
from tests.cluster.slurm import Slurm, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL")
# `disttrain` as it is here, installed or not.
PROGRAM = f'#!/bin/sh\nexec {sys.executable} -m disttrain "$@"\n'
ENDLESS = "epochs = 1000000"


@pytest.fixture
def slurm(cluster: Cluster, tmp_path: Path) -> Iterator[Slurm]:
    """Yield a Slurm with three nodes of two cores."""
    if reason := why_not():
        pytest.skip(reason)
    slurm = Slurm(cluster, tmp_path)
    yield slurm
    slurm.close()


def script(training: Training, name: str, nodes: int) -> Path:
    """Write the filled-in script of that template, and the command that it starts."""
    program, path = training.folder / "disttrain", training.folder / "train.sbatch"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    size = ["--nodes", nodes, "--ranks", nodes, "--time", "00:05:00", "--program", program]
    subprocess.run(
        [sys.executable, "-m", "disttrain", "template", name, "run.toml", *map(str, size),
         "--output", str(path)],
        check=True, env=os.environ | training.environment, timeout=30,
    )  # fmt: skip
    return path


def epochs(training: Training, line: str) -> None:
    """Change how long the training is to be."""
    path = training.folder / "run.toml"
    path.write_text(re.sub(r"epochs = \d+", line, path.read_text()))


def output(training: Training, job: str) -> str:
    """Return what a job has printed."""
    return (training.folder / f"run-{job}.out").read_text()


def wait_for_end(slurm: Slurm, training: Training, job: str, seconds: float = 200) -> None:
    """Wait until the job is over; it must have ended with 0."""
    assert wait_for(lambda: slurm.state(job) in OVER, seconds), slurm.facts(job)
    assert slurm.state(job) == "COMPLETED", output(training, job)


def test_time_limit(slurm: Slurm, training: Training) -> None:
    """The limit comes near: the training saves, is queued again, and goes on where it was."""
    epochs(training, ENDLESS)
    path = script(training, "slurm", 2)
    job = slurm.submit(path, "--time=1", "--signal=B:USR1@50", env=training.environment)
    training.under_way("runs/run")
    assert wait_for(lambda: slurm.facts(job).get("Restarts") == "1", 150), slurm.facts(job)
    summary = training.summary("runs/run")
    assert summary["status"] == "preempted"
    epochs(training, f"epochs = {int(summary['epochs']) + 2}")
    wait_for_end(slurm, training, job)
    assert f"resuming after step {summary['steps']}" in output(training, job)
    training.alone("alone")
    training.check_same("runs/run", "alone")


@pytest.mark.parametrize("name", ["slurm", "slurm-srun"])
def test_cancelled(slurm: Slurm, training: Training, name: str) -> None:
    """What its owner has cancelled does not come back."""
    epochs(training, ENDLESS)
    job = slurm.submit(script(training, name, 2), env=training.environment)
    training.under_way("runs/run")
    slurm("scancel", job)
    assert wait_for(lambda: slurm.state(job) in OVER, 100), slurm.facts(job)
    facts = slurm.facts(job)
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")


def test_node_lost(cluster: Cluster, slurm: Slurm, training: Training) -> None:
    """A node dies: the job stays, and the training goes on with the nodes that are left."""
    job = slurm.submit(script(training, "slurm", 3), env=training.environment)
    training.under_way("runs/run")
    cluster.kill("n2")
    wait_for_end(slurm, training, job)
    assert "restart 1 of 3 in 1 s: n2 does not answer" in output(training, job)
    assert training.summary("runs/run")["environment"]["hosts"] == ["n0", "n1"]
    training.alone("alone")
    training.check_same("runs/run", "alone")


def test_srun(slurm: Slurm, training: Training) -> None:
    """Without the launcher: the ranks hear the signal, the script judges by the mark."""
    if "pmix" not in slurm("srun", "--mpi=list"):
        pytest.skip("this Slurm has no PMIx: install libpmix2 and libpmix-dev")
    job = slurm.submit(script(training, "slurm-srun", 2), env=training.environment)
    training.under_way("runs/run")
    slurm("scancel", "--signal=USR1", job)
    assert wait_for(lambda: slurm.facts(job).get("Restarts") == "1", 100), slurm.facts(job)
    assert training.summary("runs/run")["status"] == "preempted"
    wait_for_end(slurm, training, job)
    assert training.summary("runs/run")["ranks"] == 2
    training.alone("alone")
    training.check_same("runs/run", "alone")


@pytest.mark.parametrize("name", ["slurm", "slurm-srun"])
def test_what_would_recur_is_not_queued_again(slurm: Slurm, training: Training, name: str) -> None:
    """A run file that can't work fails the job with its code."""
    path = script(training, name, 1)
    epochs(training, "epochs = 0")
    job = slurm.submit(path, env=training.environment)
    assert wait_for(lambda: slurm.state(job) in OVER, 100), slurm.facts(job)
    facts = slurm.facts(job)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "2:0", "0")
