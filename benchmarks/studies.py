"""Train the networks whose error is known, and print one table beside the figures to reach.

    python benchmarks/studies.py [NAME...] [--quick] [--seeds N] [--ranks 2]

Every run is started from the command line, in a folder of its own that is deleted afterwards; the
table goes to standard output, what happens meanwhile to standard error. Nothing else is written.
MNIST is prepared from data/mnist; see README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker import ONE_THREAD, machine

from disttrain.config import Settings, read

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
INPUTS = {"mnist": 784, "digits": 64, "spirals": 2, "iris": 4, "wine": 13, "breast-cancer": 30}


@dataclass(frozen=True)
class Study:
    """A run file, the data set it is for, the error to reach in percent, and where that is from."""

    file: str
    data: str
    reach: float
    source: str
    seeds: int = 3


# Errors of MLPClassifier, mean and standard deviation, as tests/reference/test_sklearn.py prints.
SKLEARN = "MLPClassifier, same 5 splits: mean plus one deviation"
STUDIES = {
    "mnist-800": Study("../../examples/mnist-800.toml", "mnist", 1.6, "the goal of this project"),
    "mnist-800-800-dropout": Study(
        "mnist-800-800-dropout.toml", "mnist", 1.30, "the goal of this project"
    ),
    "mnist-300-squared": Study(
        "mnist-300-squared.toml", "mnist", 4.7, "published: 2 layers, 300 units, MSE"
    ),
    "mnist-500-300": Study(
        "mnist-500-300.toml", "mnist", 1.53, "published: 500-300, softmax, weight decay"
    ),
    "spirals": Study("spirals.toml", "spirals", 0.0, "solved: every point right"),
    "digits": Study("digits.toml", "digits", 2.01 + 0.36, SKLEARN, 5),
    "iris": Study("iris.toml", "iris", 6.67 + 4.08, SKLEARN, 5),
    "wine": Study("wine.toml", "wine", 2.22 + 2.32, SKLEARN, 5),
    "breast-cancer": Study("breast-cancer.toml", "breast-cancer", 3.33 + 3.06, SKLEARN, 5),
}
QUICK = ("spirals", "digits", "iris", "wine", "breast-cancer")


def main() -> None:
    """Run the studies and print the table."""
    options = arguments()
    facts, begin = machine(), time.perf_counter()
    lines = []
    names = options.names or (QUICK if options.quick else tuple(STUDIES))
    for name in names:
        study = STUDIES[name]
        settings = read(HERE / "studies" / study.file)
        seeds = range(1, (options.seeds or study.seeds) + 1)
        with tempfile.TemporaryDirectory(prefix="studies-") as folder:
            runs = [measure(name, study, seed, options.ranks, Path(folder)) for seed in seeds]
        lines.append(row(name, study, settings, runs))
    print(heading())
    print("\n".join(lines))
    print(explanation(names))
    today, seconds = datetime.date.today().isoformat(), round(time.perf_counter() - begin)
    command = shlex.join(["python", "benchmarks/studies.py", *sys.argv[1:]])
    print(f"\nmachine    {facts}; {options.ranks} rank(s)")
    print(f"command    {command}   ({today}, {seconds} s)")


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="Train the networks whose error is known.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument("--quick", action="store_true", help="spirals and the small sets only")
    parser.add_argument("--seeds", type=int, help="1 to N [default: 3, small sets 5]")
    parser.add_argument("--ranks", type=int, default=2, help="of every run [default: 2]")
    options = parser.parse_args()
    if unknown := set(options.names) - set(STUDIES):
        parser.error(f"there is no study {sorted(unknown)[0]!r}, only {', '.join(STUDIES)}")
    if (options.seeds is not None and options.seeds < 1) or options.ranks < 1:
        parser.error("--seeds and --ranks are at least 1")
    return options


def measure(name: str, study: Study, seed: int, ranks: int, folder: Path) -> dict[str, Any]:
    """Train with `seed`; return the error in percent, epochs and seconds."""
    data = prepared(study.data, seed, folder)
    output = folder / f"{name}-{seed}"
    launch = ["launch", "-n", str(ranks)] if ranks > 1 else []
    train = ["train", str(HERE / "studies" / study.file), "--output", str(output), "--json"]
    changes = [f"data.path={data}", f"seed={seed}", "plot=false", "checkpoint.keep=1"]
    sets = [word for change in changes for word in ("--set", change)]
    begin = time.perf_counter()
    summary = asked(*launch, *train, *sets)
    seconds = time.perf_counter() - begin
    if study.data == "spirals":
        accuracy = asked("evaluate", str(output), "--split", "train", "--json")["accuracy"]
    else:
        accuracy = summary["test"]["accuracy"]
    error = 100 * (1 - accuracy)
    print(f"{name}, seed {seed}: {error:.2f} %, {seconds:.0f} s", file=sys.stderr, flush=True)
    return {"error": error, "epochs": summary["epochs"], "seconds": seconds}


def prepared(data: str, seed: int, folder: Path) -> Path:
    """Return the data file; the small sets are split anew for each seed."""
    path = folder / (f"{data}.h5" if data in ("mnist", "spirals") else f"{data}-{seed}.h5")
    if not path.exists():
        choice = [] if data == "mnist" else ["--seed", str(seed)]
        asked("prepare", data, str(path), *choice, "--json")
    return path


def asked(*arguments: str) -> dict[str, Any]:
    """Return the JSON object that a disttrain command prints; end where it fails."""
    command = [sys.executable, "-m", "disttrain", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"disttrain {shlex.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(next(x for x in reversed(done.stdout.splitlines()) if x.startswith("{")))


def heading() -> str:
    """Return the heads of the columns, in the widths of `row`."""
    return (
        f"{'study':<22} {'network':<15} {'mean':>6} {'reach':>6} {'':<11} {'epochs':>6} "
        f"{'s/run':>6}  error per seed, %"
    )


def row(name: str, study: Study, settings: Settings, runs: list[dict[str, Any]]) -> str:
    """Return a line of figures, and one of settings under it."""
    errors = [run["error"] for run in runs]
    mean = statistics.fmean(errors)
    units = [INPUTS[study.data], *(layer.units for layer in settings.model.layers)]
    network = "-".join(map(str, units))
    verdict = "reached" if mean <= study.reach + 1e-9 else "NOT reached"
    epochs = max(run["epochs"] for run in runs)
    seconds = statistics.fmean(run["seconds"] for run in runs)
    each = " ".join(f"{error:.2f}" for error in errors)
    return (
        f"{name:<22} {network:<15} {mean:>6.2f} {study.reach:>6.2f} {verdict:<11} {epochs:>6.0f} "
        f"{seconds:>6.1f}  {each}\n    {described(settings)}"
    )


def described(settings: Settings) -> str:
    """Return what matters of the settings, in a few words."""
    model, optimizer, schedule = settings.model, settings.optimizer, settings.schedule
    rate = f"{schedule.kind} {schedule.learning_rate:g}"
    if schedule.kind == "step":
        rate += f" x {schedule.factor:g} every {schedule.every_epochs}"
    training = settings.training
    batch = f"batch {training.batch_size}" if training.batch_size else "batch of all rows"
    words = [model.layers[0].activation, model.loss, batch, f"rate {rate}"]
    words += [f"momentum {optimizer.momentum:g}", f"decay {optimizer.weight_decay:g}"]
    dropped = [model.input_dropout, *(layer.dropout for layer in model.layers[:-1])]
    if any(dropped):
        words.append("dropout " + "/".join(f"{d:g}" for d in dropped))
    fraction = settings.data.validation_fraction
    words.append(f"validation {fraction:g}" if fraction else "no validation")
    if fraction and settings.validation.every_epochs == training.epochs:
        words[-1] += " at the end"
    return ", ".join(words)


def explanation(names: Sequence[str]) -> str:
    """Return the lines under a table of the studies `names`."""
    sources: dict[str, list[str]] = {}
    for name in names:
        sources.setdefault(STUDIES[name].source, []).append(name)
    lines = [f"           {', '.join(same)}: {source}" for source, same in sources.items()]
    return "\n".join(
        [
            "",
            "mean       test error in percent, mean over the seeds; of the weights with the least",
            "           validation loss, or of the last ones where nothing is set aside for it;",
            "           for spirals the error on the 194 points of training",
            "reach      the figure that the mean must not exceed:",
            *lines,
        ]
    )


if __name__ == "__main__":
    main()
