"""Random search beside a grid at equal cost: 16 trainings each, on 10,000 rows of MNIST.

    disttrain launch -n 2 python benchmarks/random_and_grid.py [--seeds 10] [--data data/mnist.h5]

Two hyperparameters, one of which matters: the learning rate over four factors of ten, the weight
decay over four. A grid is 4 x 4 points with both ends of each range. So that no grid is lucky or
unlucky by where its four rates lie, the range of rates begins elsewhere for each seed: at 1e-4
times a random factor from 1 to 10. Both searches have the same range, seed and data; they differ
in nothing but the points. The best by validation is scored on the test rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from disttrain import config
from disttrain.comm import Communicator, connect
from disttrain.selection.search import search
from disttrain.written import summary_of

RUN = """
seed = {seed}
data = {{ path = "{data}", labelled = 10000 }}
model.layers = [{{ units = 64, activation = "relu" }}, {{ units = 10 }}]
"""
STUDY = """
run = "{run}"
seed = {seed}
[[stages]]
{stage}
epochs = 2
[space]
"schedule.learning_rate" = {{ low = {low}, high = {high}, scale = "log", steps = 4 }}
"optimizer.weight_decay" = {{ low = 1e-6, high = 1e-2, scale = "log", steps = 4 }}
"""
KINDS = {"grid": 'kind = "grid"', "random": "candidates = 16"}


def main() -> None:
    """Search both ways with each seed and print a line of each, then means and deviations."""
    parser = argparse.ArgumentParser(description="Random search beside a grid at equal cost.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", type=Path, default=Path("data/mnist.h5"))
    options = parser.parse_args()
    comm = connect()
    with tempfile.TemporaryDirectory(prefix="random-and-grid-") as own:
        folder = Path(comm.share(own))
        rows = [compared(seed, options.data.absolute(), folder, comm)
                for seed in range(1, options.seeds + 1)]  # fmt: skip
        comm.barrier()
    if comm.is_root:
        for split in ("validation", "test"):
            for kind in KINDS:
                scores = [100 * row[kind][split] for row in rows]
                mean, deviation = statistics.fmean(scores), statistics.stdev(scores)
                print(f"{split:10} {kind:6} {mean:.2f} %, deviation {deviation:.2f}")
            gains = [100 * (row["random"][split] - row["grid"][split]) for row in rows]
            better, error = sum(gain > 0 for gain in gains), statistics.stdev(gains)
            ahead = f"{statistics.fmean(gains):+.2f} points, error {error / len(gains) ** 0.5:.2f}"
            print(f"{split:10} random ahead by {ahead}; better with {better} of {len(gains)} seeds")


def compared(seed: int, data: Path, folder: Path, comm: Communicator) -> dict[str, Any]:
    """Search by a grid and at random with one seed; return the scores of the best of each."""
    low = float(f"{1e-4 * 10 ** np.random.default_rng(seed).random():.3g}")
    found = {}
    for kind, stage in KINDS.items():
        place = folder / f"{kind}-{seed}"
        with comm.together("writing a study"):
            if comm.is_root:
                run = place.with_suffix(".run.toml")
                run.write_text(RUN.format(seed=seed, data=data))
                text = STUDY.format(run=run, seed=seed, stage=stage, low=low, high=low * 1e4)
                place.with_suffix(".toml").write_text(text)
        study = config.read_study(place.with_suffix(".toml"))
        best = search(study, place, comm, say=lambda line: None)["best"]
        summary = summary_of(place / best["path"] / "summary.json")
        rate = best["settings"]["schedule.learning_rate"]
        found[kind] = {"validation": best["score"], "test": summary["test"]["accuracy"]}
        if comm.is_root:
            scores = ", ".join(f"{split} {100 * v:.2f} %" for split, v in found[kind].items())
            line = f"seed {seed:2}  {kind:6}  rates from {low:.2g}, best {rate:.3g}: {scores}"
            print(line, flush=True)
    return found


if __name__ == "__main__":
    main()
