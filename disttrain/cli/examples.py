"""One line and one example for each command: what the list of commands and each `--help` show."""

from __future__ import annotations

from collections.abc import Iterator

import typer

__all__ = ["EXAMPLES", "commands", "show_examples"]

# The line in the list of commands, short enough not to be cut off, and a command as it is typed.
EXAMPLES = {
    "train": (
        "Train a network, on one rank or many.",
        "disttrain train run.toml --set training.epochs=5",
    ),
    "evaluate": (
        "Print loss and accuracy of trained networks.",
        "disttrain evaluate runs/mine --data test.csv --metrics",
    ),
    "predict": (
        "Print predictions for new samples.",
        "disttrain predict runs/mine new.csv --output classes.csv",
    ),
    "search": (
        "Search for the best settings.",
        "disttrain launch -n 4 search study.toml --output runs/study",
    ),
    "cross-validate": (
        "Judge settings by folds of the training rows.",
        "disttrain cross-validate run.toml --over training.epochs=10,20",
    ),
    "check": (
        "Check a run file and its data before training.",
        "disttrain check run.toml --overfit",
    ),
    "inspect": (
        "Print what a checkpoint, run or data file holds.",
        "disttrain inspect runs/mine",
    ),
    "verify": (
        "Say which files are whole; compute a run again.",
        "disttrain verify runs/mine --from 400",
    ),
    "compare": (
        "Compare two runs: scores, and where they part.",
        "disttrain compare runs/one runs/two",
    ),
    "plot": (
        "Draw curves, confusion, weights, decision regions.",
        "disttrain plot runs/mine --output pictures",
    ),
    "draw": (
        "Draw a network as units and weighted edges.",
        "disttrain draw runs/mine --output network.svg",
    ),
    "export": (
        "Write a network as ONNX or safetensors.",
        "disttrain export runs/mine model.onnx",
    ),
    "import": (
        "Read a network from ONNX or safetensors.",
        "disttrain import model.safetensors model.h5 --layers 800:relu,10",
    ),
    "ensemble": (
        "Average the predictions of several networks.",
        "disttrain ensemble run.toml --members 5",
    ),
    "report": (
        "Write one HTML page about runs.",
        "disttrain report runs/mine",
    ),
    "watch": (
        "Show a running job in the terminal.",
        "disttrain watch runs/mine",
    ),
    "doctor": (
        "Look for what would stop or spoil a run here.",
        "disttrain launch -n 2 doctor",
    ),
    "drill": (
        "Break a training on purpose; print a score-card.",
        "disttrain drill run.toml -n 4",
    ),
    "env": (
        "Print versions and machine, for a bug report.",
        "disttrain env --json",
    ),
    "launch": (
        "Start a command on N ranks, here or on other hosts.",
        "disttrain launch -n 4 train run.toml --resume",
    ),
    "template": (
        "Print a batch script or host file for a run.",
        "disttrain template slurm run.toml --nodes 2 --ranks 8",
    ),
    "prepare mnist": ("MNIST's 60,000 + 10,000 digits.", "disttrain prepare mnist data/mnist.h5"),
    "prepare idx": (
        "IDX files, the format of MNIST.",
        "disttrain prepare idx fashion/ fashion.h5",
    ),
    "prepare npz": ("NumPy's arrays.", "disttrain prepare npz arrays.npz data.h5"),
    "prepare images": (
        "A folder of images for each class.",
        "disttrain prepare images photos/ data.h5 --size 64x64 --grey",
    ),
    "prepare csv": (
        "A table of text: CSV and its kin.",
        "disttrain prepare csv train.csv data.h5 --target kind --test test.csv",
    ),
    "prepare parquet": ("A Parquet table.", "disttrain prepare parquet train.parquet data.h5"),
    "prepare hdf5": (
        "HDF5 of other programs.",
        "disttrain prepare hdf5 other.h5 data.h5 --inputs /X --targets /y",
    ),
    "prepare digits": ("1,797 digits of 8 x 8 pixels.", "disttrain prepare digits digits.h5"),
    "prepare iris": ("150 irises, 4 features, 3 classes.", "disttrain prepare iris iris.h5"),
    "prepare wine": ("178 wines, 13 features, 3 classes.", "disttrain prepare wine wine.h5"),
    "prepare breast-cancer": (
        "569 tumours, 30 features, 2 classes.",
        "disttrain prepare breast-cancer cancer.h5",
    ),
    "prepare xor": (
        "Exclusive or: four clusters, or four points.",
        "disttrain prepare xor xor.h5 --exact",
    ),
    "prepare moons": (
        "Two half circles that reach into one another.",
        "disttrain prepare moons moons.h5 --rows 400",
    ),
    "prepare spirals": (
        "Two spirals, 97 points on each.",
        "disttrain prepare spirals spirals.h5 --noise 0.05",
    ),
    "prepare blobs": (
        "Round clusters on a circle.",
        "disttrain prepare blobs blobs.h5 --classes 5 --test-fraction 0.2",
    ),
    "prepare line": (
        "Two classes that a line separates.",
        "disttrain prepare line line.h5 --margin 0.02",
    ),
    "prepare curve": (
        "A function of one variable, to be fitted.",
        'disttrain prepare curve curve.h5 --function "sin(3*x)"',
    ),
    "prepare fish": (
        "Salmon and sea bass, by length and weight.",
        "disttrain prepare fish fish.h5",
    ),
    "bench kernels": ("Time each kernel beside NumPy.", "disttrain bench kernels --quick"),
    "bench allreduce": (
        "Time the ways to add a message over ranks.",
        "disttrain launch -n 4 bench allreduce",
    ),
    "bench step": (
        "Time the parts of a training step.",
        "disttrain launch -n 2 bench step run.toml",
    ),
    "bench scaling": (
        "Time steps on 1, 2, ... ranks; predict more.",
        "disttrain bench scaling run.toml -n 1,2,4",
    ),
}
GROUPS = {
    "prepare": "Make a data file of tables, images or arrays.",
    "bench": "Measure kernels, sums, steps and scaling here.",
}


def commands(app: typer.Typer, before: str = "") -> Iterator[tuple[str, typer.models.CommandInfo]]:
    """Yield each command of an application by its whole name, those of its groups too."""
    for info in app.registered_commands:
        called = info.name or getattr(info.callback, "__name__", "").replace("_", "-")
        yield before + called, info
    for group in app.registered_groups:
        if group.typer_instance is not None:
            inner = f"{before}{group.name} " if group.name else before
            yield from commands(group.typer_instance, inner)


def show_examples(app: typer.Typer) -> None:
    """Give each command of an application its line in the list and the example in its help."""
    for name, info in commands(app):
        if name in EXAMPLES:
            info.short_help, example = EXAMPLES[name]
            info.epilog = f"Example: {example}"
    for group in app.registered_groups:
        group.short_help = GROUPS.get(group.name or "")
