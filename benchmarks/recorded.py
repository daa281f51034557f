"""What recording a step saves: replayed over eager steps of one rank, for settings of many kinds.

    python benchmarks/recorded.py

For each case two runs of the same settings take turns, `STEPS` steps each time; printed are the
medians of the thread times of a step, and their ratio. The last line says what the load was.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import disttrain
from disttrain.environment import prepare_blas

os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_blas()

import numpy as np  # noqa: E402

from disttrain.comm.alone import Alone  # noqa: E402
from disttrain.data.writer import write_data_file  # noqa: E402
from disttrain.training.trainer import train_step  # noqa: E402

ROWS, STEPS, ROUNDS = 16384, 16, 31
DENSE = [{"units": 128, "activation": "relu"}, {"units": 10}]
SLOW = [{"units": 128, "activation": "relu", "rate": 0.1}, {"units": 10}]
UNIT = [{"units": 1, "activation": "sign"}]
# Each case: the data file and what the settings say besides.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("pixels", {}),
    "weights of samples": ("weighted", {}),
    "weights of classes": ("pixels", {"training": {"class_weights": "balanced"}}),
    "label smoothing": ("pixels", {"training": {"label_smoothing": 0.1}}),
    "accumulate = 4": ("pixels", {"training": {"accumulate": 4}}),
    "rates of layers": ("pixels", {"model": {"layers": SLOW}}),
    "clip_norm": ("pixels", {"optimizer": {"clip_norm": 1.0}}),
    "streamed": ("pixels", {"data": {"memory": "stream"}}),
    "numbers, 20-128-10": ("numbers", {}),
    "perceptron, batch 1": ("two", {"model": {"layers": UNIT, "loss": "perceptron"},
                                    "training": {"batch_size": 1}}),
}  # fmt: skip


def files(folder: Path) -> dict[str, Path]:
    """Write the data files of all cases."""
    draw = np.random.default_rng(1)
    pixels, numbers = draw.integers(0, 256, (ROWS, 784), np.uint8), draw.normal(size=(ROWS, 20))
    classes, weights = draw.integers(0, 10, ROWS), {"train": draw.random(ROWS, "f4") + 0.5}
    splits = {
        "pixels": (pixels, classes),
        "weighted": (pixels, classes),
        "numbers": (numbers.astype("f4"), classes),
        "two": (numbers.astype("f4"), (numbers[:, 0] > 0).astype("i8")),
    }
    for name, train in splits.items():
        given = weights if name == "weighted" else None
        write_data_file(folder / f"{name}.h5", {"train": train}, weights=given)
    return {name: folder / f"{name}.h5" for name in splits}


def built(path: Path, mode: str, changes: dict[str, Any]) -> disttrain.Run:
    """Return a run of these settings."""
    given: dict[str, dict[str, Any]] = {
        "data": {"path": str(path), "validation_fraction": 0.0},
        "model": {"layers": DENSE},
        "training": {"batch_size": 128},
        "schedule": {"learning_rate": 1e-3},
        "device": {"kind": "cpu"},
        "reproducibility": {"mode": mode},
    }
    for table, keys in changes.items():
        given[table] = given.get(table, {}) | keys
    return disttrain.build(disttrain.Settings.model_validate(given), comm=Alone())


def measured(path: Path, mode: str, changes: dict[str, Any]) -> tuple[float, float]:
    """Return the medians of an eager and of a replayed step, in microseconds."""
    runs = {eager: built(path, mode, changes) for eager in (True, False)}
    runs[True].recordings.why_not = "it is measured"
    done, times = dict.fromkeys(runs, 0), {eager: list[float]() for eager in runs}
    assert runs[False].recordings.of(0), "the step is not recorded"
    for round_ in range(ROUNDS + 1):
        for eager, run in runs.items():
            begin = time.thread_time()
            for _ in range(STEPS):
                train_step(run, done[eager], 1e-3)
                done[eager] += 1
            if round_:
                times[eager].append((time.thread_time() - begin) / STEPS * 1e6)
    return statistics.median(times[True]), statistics.median(times[False])


def main() -> None:
    """Measure all cases, print a table."""
    print(f"{'784-128-10, batch 128, us a step':34}{'':8}{'eager':>9}{'replayed':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder))
        for name, (file, changes) in CASES.items():
            for mode in ("fast", "exact"):
                eager, replayed = measured(paths[file], mode, changes)
                line = f"{name:34}{mode:8}{eager:9.0f}{replayed:10.0f}{replayed / eager:8.2f}"
                print(line, flush=True)
    print(f"load average {os.getloadavg()[0]:.0f}, {os.cpu_count()} cores", file=sys.stderr)


if __name__ == "__main__":
    main()
