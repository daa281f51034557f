"""`python -m tests.mpi.soak KILLS [SEED]`: kills ranks at random moments of trainings that go on.

Each training must end by itself with what one undisturbed rank gets: the same digest, metrics and
chain of digests. A rank that is killed before all have met ends the job with code 5, as documented.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median

from disttrain.launch.drill import events
from tests.cli.shell import Shell, a_shell, blobs, wait_for

TRAINING = """
[data]
path = "blobs.h5"
[model]
layers = [{ units = 19, activation = "relu", dropout = 0.1 }, { units = 3 }]
average = 0.9
[training]
batch_size = 16
epochs = 25
[validation]
every_steps = 13
on = "all"
[checkpoint]
every_steps = 20
[reproducibility]
mode = "exact"
[device]
kind = "cpu"
"""
TRAIN = ("train", "run.toml", "--overwrite", "-q")
CLOCK = ("seconds", "samples_per_second")
# Short of any deadline; much longer than a training on a busy machine.
SOON = 100


def lines(path: Path) -> list[dict]:
    """Return the records of a file without what a clock says."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def found(shell: Shell, output: str) -> tuple:
    """Return what must be the same whatever happened to ranks."""
    summary = shell.summary(output)
    keys = ("status", "steps", "digest", "best_step", "validation", "test")
    files = [lines(shell.folder / output / f"{name}.jsonl") for name in ("metrics", "digests")]
    return *(summary[key] for key in keys), *files


def kill_some(
    shell: Shell, ranks: int, kills: int, chance: random.Random
) -> tuple[int, dict[int, float], str]:
    """Train on `ranks` and kill so many; return the exit code, who died when, what was said."""
    shutil.rmtree(shell.folder / "out", ignore_errors=True)
    slow = [f"--inject=slow:rank={rank},step=0,seconds=0.003" for rank in range(ranks)]
    process = shell.start("launch", "-n", ranks, *TRAIN, "--output", "out", *slow)
    mets = lambda: (shell.folder / "out/logs").is_dir() or process.poll() is not None  # noqa: E731
    assert wait_for(mets, SOON)
    killed = {}
    for _ in range(kills):
        time.sleep(chance.random() * chance.choice([0.0, 0.3, 1.2]))
        running = shell.ranks()
        if len(running) > 1:
            rank = chance.choice(sorted(running))
            with suppress(ProcessLookupError):
                os.kill(running[rank], signal.SIGKILL)
                killed[rank] = time.time()
    try:
        out, said = process.communicate(timeout=SOON)
    except subprocess.TimeoutExpired:
        left = shell.ranks()
        for pid in left.values():
            os.kill(pid, signal.SIGUSR2)
        time.sleep(1)
        shell.kill_all()
        raise AssertionError(f"{ranks} {killed} {left}: {process.communicate()}") from None
    return process.returncode, killed, out + said


def waits(folder: Path, moments: Iterable[float]) -> list[float]:
    """Return the seconds from each kill to the next finished step, as the journals say it.

    A kill after the last step, or at the same time as another one, may have none of its own.
    """
    steps = sorted(e["time"] for e in events(folder) if e["event"] == "first step after a loss")
    found = [next((step - at for step in steps if step >= at), None) for at in moments]
    return [seconds for seconds in found if seconds is not None]


def soak(shell: Shell, kills: int, seed: int) -> dict[str, float]:
    """Kill ranks until so many are dead; return how many trainings there were, kills, and seconds.

    These: median and longest time from a kill to the next finished step, of `timed` ones.
    """
    shell.run_file(TRAINING)
    whole = shell.run("train", "run.toml", "--output", "whole", "-q", timeout=SOON)
    assert whole.returncode == 0, whole.stderr
    wanted, chance, seconds = found(shell, "whole"), random.Random(seed), list[float]()
    count: dict[str, float] = {"trainings": 0, "kills": 0}
    while count["kills"] < kills:
        ranks = chance.choice((2, 3, 4))
        code, killed, said = kill_some(shell, ranks, chance.randint(1, ranks - 1), chance)
        where = (count, ranks, killed, code, said)
        assert code == 0, where
        assert found(shell, "out") == wanted, where
        assert not shell.left_running(), where
        count["trainings"] += 1
        count["kills"] += len(killed)
        seconds += waits(shell.folder / "out/logs", killed.values())
    longest, middle = max(seconds, default=0.0), median(seconds or [0.0])
    return count | {"timed": len(seconds), "median": round(middle, 3), "longest": round(longest, 3)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        blobs(Path(folder) / "blobs.h5", validation=2100)
        with a_shell(Path(folder)) as shell:
            begin = time.monotonic()
            print(soak(shell, int(sys.argv[1]), int((*sys.argv[2:], 1)[0])),
                  f"{time.monotonic() - begin:.0f} s: all as undisturbed")  # fmt: skip
