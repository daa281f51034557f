"""Whole runs: from the command to the first step, what an interval's end costs, memory of a rank.

    python benchmarks/run.py [--ranks N]

`table.py` prints these figures beside those of the steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker import ONE_THREAD, machine

HERE = Path(__file__)
DISTTRAIN = [sys.executable, "-m", "disttrain"]
SETTINGS = """
data.path = "{path}"
data.validation_fraction = 0.1
model.layers = [{{ units = 800, activation = "relu" }}, {{ units = 10 }}]
training.batch_size = 128
training.epochs = {epochs}
device.kind = "cpu"
"""
ROWS = 60_000
# Of the memory's measurement: 10 million parameters, and a batch that is small beside them.
WIDE, BATCH = [784, 2048, 2048, 2048, 10], 128
UPKEEP = ("validation", "checkpoint", "audit", "other")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory_of_this_rank()
        return
    print(machine())
    for name, value in figures(options.ranks):
        print(f"{name:60} {value:.3f}", flush=True)


def figures(ranks: int) -> Iterator[tuple[str, float]]:
    """Yield all figures with their names."""
    yield "--help, seconds", help_seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.h5")
        times = [start_up(folder, 4) for _ in range(3)]
        yield "4 ranks, from the command to the first step, seconds", statistics.median(times)
        for count in (1, ranks):
            share, without = upkeep(folder, count)
            yield f"end of an epoch, share of the time, ranks: {count}", share
            yield f"the same without validation's forward passes, ranks: {count}", without
    for count in (1, ranks):
        for what, value in memory(count).items():
            yield f"memory, {what}, ranks: {count}", value


def write_rows(path: Path, rows: int = ROWS) -> None:
    """Write a data file of noise; by itself as large as MNIST."""
    import numpy as np

    from disttrain.data.writer import write_data_file

    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (rows, 784), np.uint8)
    write_data_file(path, {"train": (inputs, draw.integers(0, 10, rows))})


def help_seconds() -> float:
    """Return the median time of `disttrain --help`."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([*DISTTRAIN, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def trained(folder: Path, ranks: int, epochs: int) -> tuple[float, list[dict[str, Any]]]:
    """Train; return when the command was given, and the spans of the timeline of rank 0."""
    run, trace = folder / "run.toml", folder / "trace.json"
    run.write_text(SETTINGS.format(path=folder / "rows.h5", epochs=epochs))
    launch = [] if ranks == 1 else ["launch", "-n", str(ranks)]
    command = [*DISTTRAIN, *launch, "train", str(run), "--output", str(folder / "out"),
               "--overwrite", "--quiet", "--trace", str(trace)]  # fmt: skip
    begin = time.time()
    subprocess.run(command, check=True)
    events = json.loads(trace.read_text())["traceEvents"]
    return begin, [e for e in events if e["ph"] == "X" and e["pid"] == 0]


def start_up(folder: Path, ranks: int) -> float:
    """Return the seconds from the command to the first step's computation."""
    begin, spans = trained(folder, ranks, 1)
    first = next(s for s in spans if s["args"]["step"] == 1 and s["name"] == "compute")
    return first["ts"] / 1e6 - begin


def upkeep(folder: Path, ranks: int, epochs: int = 5) -> tuple[float, float]:
    """Return the share of the time of epochs that is no step: validation, checkpoint, audit, log.

    And the same without the spans of validation.
    """
    _, spans = trained(folder, ranks, epochs)
    steps = [n for n, s in enumerate(spans) if s["name"] == "compute" and s["args"]["step"]]
    # Whole epochs with their ends: the first has the first step of each shape, and behind the last
    # one the run ends, with another pass over the validation rows.
    per_epoch = max(spans[n]["args"]["step"] for n in steps) // epochs
    low, high = (
        next(n for n in steps if spans[n]["args"]["step"] == per_epoch * epoch + 1)
        for epoch in (1, epochs - 1)
    )
    inside = spans[low:high]
    total = sum(s["dur"] for s in inside)
    ends = [
        s for s in inside if s["args"]["step"] % per_epoch == 0
        and (s["name"] in UPKEEP or "waiting after" in s["args"]["phase"])
    ]  # fmt: skip
    validation = sum(s["dur"] for s in ends if s["args"]["phase"] == "validation")
    share = sum(s["dur"] for s in ends) / total
    return share, share - validation / total


def memory(ranks: int) -> dict[str, float]:
    """Return the memory of a rank, of several, over (3 parameters + a batch of activations)."""
    launch = [] if ranks == 1 else [*DISTTRAIN, "launch", "-n", str(ranks)]
    command = [*launch, sys.executable, str(HERE), "--memory"]
    import os

    done = subprocess.run(command, check=True, capture_output=True, text=True,
                          env={**os.environ, **ONE_THREAD})  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def built(path: Path, units: list[int]) -> Any:
    """Return the run of a network of so many units a layer on the rows in `path`. Collective."""
    import disttrain

    layers = [{"units": n, "activation": "relu"} for n in units[:-1]]
    return disttrain.build(disttrain.Settings.model_validate({
        "data": {"path": str(path), "validation_fraction": 0.05},
        "model": {"layers": [*layers, {"units": units[-1]}]},
        "training": {"batch_size": BATCH},
        "device": {"kind": "cpu"},
    }))  # fmt: skip


def memory_of_this_rank() -> None:
    """Train in this process, and print the largest figure of all ranks."""
    import numpy as np

    import disttrain
    from disttrain.checkpoint import pieces_of
    from disttrain.training.trainer import train_step

    comm = disttrain.connect()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.h5"
        write_rows(path, 8192)

        # What is loaded once is not of the network, nor are the BLAS's buffers: they are there
        # before.
        many = np.ones((2048, 2048), np.float32)
        many @ many
        del many
        small = built(path, [16, 10])
        for step in range(3):
            train_step(small, step, 1e-3)
        before = now()
        run = built(path, WIDE[1:])
        for step in range(4):
            train_step(run, step, 1e-3)
        run.validate()
        after = (
            now() - sum(split.rows.count * 784 for split in run.dataset.splits.values()) / comm.size
        )
        rows = -(-BATCH // comm.size)
        wanted = 4 * (3 * run.network.layout.length + rows * sum(WIDE))
        if comm.is_root:
            pieces_of(run.snapshot())
        found = {"training": (after - before) / wanted, "with a save (most)":
                 (peak() - before) / wanted}  # fmt: skip
        for key in found:
            found[key] = max(comm.collect(found[key]))
        run.close()
        small.close()
    if comm.is_root:
        print(json.dumps(found))


def now() -> float:
    """Return this process's memory in bytes; what ranks share counts as a part for each."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024.0 * next(int(x.split()[1]) for x in lines if x.startswith("Pss:"))


def peak() -> float:
    """Return the most memory that this process has had, in bytes; shared memory counts whole."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(x.split()[1]) for x in lines if x.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
