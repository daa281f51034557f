"""The test that defines the project: kill any rank at any moment, go on with any number of ranks;
the digest is that of one rank that nobody disturbed.
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from disttrain.checkpoint import all_checkpoints
from disttrain.training.integrity.chain import broken_at
from tests.cli.shell import wait_for

# 150 rows in batches of 16: 10 steps an epoch.
TRAINING = """
[data]
path = "blobs.h5"
[model]
layers = [{ units = 19, activation = "relu", dropout = 0.1 }, { units = 3 }]
[training]
batch_size = 16
[schedule]
kind = "cosine"
[validation]
every_steps = 37
[checkpoint]
every_steps = 20
[reproducibility]
mode = "exact"
[device]
kind = "cpu"
"""
TRAIN = ("train", "run.toml", "--output", "out", "--resume")
# Long enough for a start, and for all steps of a run, on a busy machine.
SOON = 100
CLOCK = ("seconds", "samples_per_second")


def saved(shell):
    """Return the step of the newest checkpoint."""
    paths = all_checkpoints(shell.folder / "out/checkpoints")
    return int(paths[-1].stem.removeprefix("step-")) if paths else 0


def kill_one(shell, ranks, chance, options):
    """Go on with a run on `ranks` ranks and kill one of them; return the launcher's exit code."""
    before = saved(shell)
    process = shell.start(
        "launch", "-n", ranks, "--fault-tolerance", "off", *TRAIN, *options,
        module="tests.mpi.driver", env={"PACE": "0.002"},
    )  # fmt: skip
    over = lambda: process.poll() is not None  # noqa: E731
    assert wait_for(lambda: len(shell.ranks()) == ranks or over(), SOON)
    # Now and then while it starts; else somewhere behind its first checkpoint.
    if chance.random() < 0.8:
        assert wait_for(lambda: saved(shell) > before or over(), SOON)
    time.sleep(chance.random() * 0.4)
    running = shell.ranks()
    if running:
        with suppress(ProcessLookupError):
            os.kill(running[chance.choice(sorted(running))], signal.SIGKILL)
    try:
        _, said = process.communicate(timeout=SOON)
    except subprocess.TimeoutExpired:
        shell.kill_all()
        raise AssertionError(f"hangs after a kill: {process.communicate()}") from None
    assert process.returncode in (0, 5), said
    assert "Traceback" not in said
    assert not shell.left_running()
    return process.returncode


def lines(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def check(shell, rounds, seed, *options):
    """Kill and go on `rounds` times, then to the end; compare with one undisturbed rank."""
    shell.run_file(TRAINING)
    chance, codes, ranks = random.Random(seed), [], 0
    for _ in range(rounds):
        ranks = chance.choice([n for n in (1, 2, 3, 4) if n != ranks])
        codes.append(kill_one(shell, ranks, chance, options))
    ranks = chance.choice([n for n in (1, 2, 3, 4) if n != ranks])
    ended = shell.run("launch", "-n", ranks, *TRAIN, *options, timeout=SOON)
    assert ended.returncode == 0, ended.stderr
    whole = shell.run("train", "run.toml", "--output", "whole", *options, timeout=SOON)
    assert whole.returncode == 0, whole.stderr
    assert 5 in codes, "no rank was killed in time"
    mine, wanted = shell.summary("out"), shell.summary("whole")
    for key in ("digest", "steps", "best_step", "validation", "test", "status"):
        assert mine[key] == wanted[key], (key, seed)
    for name in ("metrics.jsonl", "digests.jsonl"):
        found, right = (lines(shell.folder / run / name) for run in ("out", "whole"))
        assert found == right, (name, seed)
    assert broken_at(found) is None


@pytest.mark.timeout(300)
def test_killed_ranks_and_other_numbers_of_them_change_no_bit(shell):
    check(shell, 2, 1, "--set", "training.epochs=45")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("arithmetic", ["leaves", "shared"])
def test_eight_killed_ranks_change_no_bit(shell, arithmetic):
    way = f"reproducibility.arithmetic={arithmetic}"
    check(shell, 8, 2, "--set", "training.epochs=140", "--set", way)
