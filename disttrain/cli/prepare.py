"""`disttrain prepare`: makes a data file from MNIST, IDX, numpy files or images.

Tables are in prepare_tables.py, HDF5 files in prepare_hdf5.py, the sets that are small or generated
in prepare_small.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.moving import moving
from disttrain.cli.options import Quiet, print_json, say
from disttrain.errors import UsageError
from disttrain.shown import shown

if TYPE_CHECKING:
    from disttrain.data.importers import Imported

__all__ = [
    "AsJson",
    "Out",
    "Seed",
    "TestFraction",
    "Unlabelled",
    "app",
    "existing",
    "reading",
    "write",
]

app = typer.Typer(
    name="prepare",
    help="Make a data file from MNIST, IDX, CSV, numpy or HDF5 files or images, "
    "from the small sets that ship with disttrain, or from a seed. "
    "An older data file at OUT is replaced, at the very end.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The data file to write.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of the shuffle of the training rows.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
Unlabelled = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="More rows, without targets, for pre-training: as `predict` takes."
    ),
]
Regression = Annotated[
    bool, typer.Option("--regression", help="Targets are quantities, also where they look whole.")
]
TestFraction = Annotated[
    float,
    typer.Option(min=0.0, max=0.99, help="Fraction of the rows to keep for testing, per class."),
]


@app.command()
def mnist(
    out: Out,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FOLDER", help="Folder with MNIST's four files, gzipped or not."
        ),
    ] = None,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """MNIST: 60000 + 10000 digits, from data/mnist, a folder, or downloaded."""
    from disttrain.data.importers.mnist import import_mnist

    with reading(out, quiet=quiet):
        imported = import_mnist(source)
    write(out, imported, seed, as_json, unlabelled, quiet)


@app.command()
def idx(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="[FOLDER] OUT", help="FOLDER has files with MNIST's names."),
    ],
    train_images: Annotated[Path | None, typer.Option(help="Instead of FOLDER.")] = None,
    train_labels: Annotated[Path | None, typer.Option(help="Instead of FOLDER.")] = None,
    test_images: Annotated[Path | None, typer.Option()] = None,
    test_labels: Annotated[Path | None, typer.Option()] = None,
    regression: Regression = False,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """IDX files, MNIST's format: a folder of them, or each by its option."""
    from disttrain.data.importers.idx import find_files, import_idx

    *folder, out = paths
    train, test = (train_images, train_labels), (test_images, test_labels)
    given = {"train": train, "test": test} if any(test) else {"train": train}
    if len(folder) > 1 or bool(folder) == any((*train, *test)):
        raise UsageError("prepare idx takes either FOLDER OUT, or OUT and options with the files")
    files = {split: (a, b) for split, (a, b) in given.items() if a is not None and b is not None}
    if not folder and len(files) < len(given):
        raise UsageError("prepare idx needs images and labels: --train-images with --train-labels")
    inputs = [path for pair in files.values() for path in pair]
    with reading(out, *inputs, quiet=quiet):
        imported = import_idx(find_files(folder[0]) if folder else files, regression=regression)
    write(out, imported, seed, as_json, unlabelled, quiet)


@app.command()
def npz(
    source: Annotated[Path, typer.Argument(metavar="IN", help=".npz, or .npy with --targets.")],
    out: Out,
    targets: Annotated[
        Path | None, typer.Option(metavar="T.npy", help="The targets, where IN is an .npy file.")
    ] = None,
    regression: Regression = False,
    test_fraction: TestFraction = 0.0,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Numpy arrays: inputs and targets, or x_train, y_train, x_test, y_test."""
    from disttrain.data.importers.arrays import import_npy, import_npz
    from disttrain.data.importers.holdout import hold_out

    with reading(out, source, *([targets] if targets else []), quiet=quiet):
        if targets is None:
            imported = import_npz(source, regression=regression)
        else:
            imported = import_npy(source, targets, regression=regression)
        imported = hold_out(imported, test_fraction, seed)
    write(out, imported, seed, as_json, unlabelled, quiet)


@app.command()
def images(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder with one folder of images for each class."),
    ],
    out: Out,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Scale all images, e.g. 32x32.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Turn colour to grey.")] = False,
    colour: Annotated[bool, typer.Option("--colour", help="Turn grey to colour.")] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="File names and classes of images that lie in FOLDER itself, as a table.",
        ),
    ] = None,
    test_fraction: TestFraction = 0.0,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Images in a folder per class; folders train and test are kept apart."""
    from disttrain.data.importers.holdout import hold_out
    from disttrain.data.importers.images import import_images

    shape = _height_and_width(size)
    with reading(out, *([labels] if labels else []), quiet=quiet):
        imported = import_images(
            source, size=shape, grey=grey, colour=colour, labels=labels, room=existing(out)
        )
        imported = hold_out(imported, test_fraction, seed, existing(out))
    write(out, imported, seed, as_json, unlabelled, quiet)


def _height_and_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--size is '{size}', but must be height x width, such as 32x32")
    return int(height), int(width)


@contextmanager
def reading(
    out: Path, *sources: Path, quiet: bool = False
) -> Iterator[Callable[[Path, int, float], None]]:
    """Refuse a bad OUT before time is spent on reading, and show that reading goes on.

    What it gives is to be called with a file, and the number of rows and the part of it that were
    read.
    """
    from disttrain.data.writer import check_replaceable

    if any(path.exists() and out.exists() and os.path.samefile(path, out) for path in sources):
        raise UsageError(f"{out} is also a file to read: name another OUT")
    check_replaceable(out)
    for pipe in [] if quiet else filter(Path.is_fifo, sources):
        say(f"waiting for another program to write to the pipe {pipe}", as_json=True)
    with moving(quiet) as told:
        yield lambda path, rows, part: told(f"reading {shown(path.name)}: {rows:,} rows", part)


def existing(out: Path) -> Path:
    """Return the folder in which `out` will be, or the first one above it that is there."""
    return next(parent for parent in out.absolute().parents if parent.exists())


def write(
    out: Path, imported: Imported, seed: int, as_json: bool, unlabelled: Path | None = None,
    quiet: bool = False,
) -> None:  # fmt: skip
    """Write the data file, with rows of another file that have no targets; say what is in it."""
    from disttrain.data.importers import counted_from_zero
    from disttrain.data.others.unlabelled import unlabelled_rows
    from disttrain.data.writer import write_data_file

    imported = counted_from_zero(imported)
    if unlabelled is not None:
        imported = replace(imported, unlabelled=unlabelled_rows(unlabelled, imported))
    with moving(quiet) as told:
        write_data_file(
            out, imported.splits, imported.classes, preparation=imported.preparation,
            weights=imported.weights, unlabelled=imported.unlabelled, seed=seed,
            progress=lambda done, total: told(f"writing {shown(out.name)}", done / total),
        )  # fmt: skip
    facts = _facts(out, imported, seed)
    if as_json:
        print_json(facts)
    for line in () if quiet else (_sentence(facts), *imported.notes):
        say(line, as_json)


def _facts(out: Path, imported: Imported, seed: int) -> dict[str, Any]:
    inputs, targets = next(iter(imported.splits.values()))
    is_classes, made = targets.dtype.kind == "i", imported.preparation
    return {
        "path": str(out),
        "rows": {split: len(pair[0]) for split, pair in imported.splits.items()}
        | ({} if imported.unlabelled is None else {"unlabelled": len(imported.unlabelled)}),
        "input_shape": list(inputs.shape[1:]),
        "input_dtype": str(inputs.dtype),
        "target_dtype": str(targets.dtype),
        "outputs": _outputs(imported),
        "task": "classification" if is_classes else "regression",
        "classes": None if imported.classes is None else list(imported.classes),
        "target": None if made is None else list(made.targets),
        "weights": made.weights or None if made is not None else None,
        "seed": seed,
        "notes": list(imported.notes),
    }


def _outputs(imported: Imported) -> int:
    _, targets = next(iter(imported.splits.values()))
    if targets.dtype.kind != "i":
        return int(targets.shape[1])
    return len(imported.classes) if imported.classes else int(targets.max()) + 1


def _sentence(facts: dict[str, Any]) -> str:
    rows = ", ".join(f"{split} {count} rows" for split, count in facts["rows"].items())
    shape = " x ".join(str(size) for size in facts["input_shape"])
    if facts["task"] == "regression":
        count = facts["outputs"]
        targets = f"{count} number{'s' * (count > 1)} to be fitted, {facts['target_dtype']}"
    else:
        targets = f"{facts['outputs']} classes"
    if facts["classes"]:
        names = facts["classes"]
        targets += f" ({', '.join(names[:10])}{', ...' if len(names) > 10 else ''})"
    if facts["target"]:
        targets = f"target {', '.join(map(repr, facts['target']))}: {targets}"
    if facts["weights"]:
        targets += f"; weights '{facts['weights']}'"
    return f"{facts['path']}: {rows}; inputs {shape} {facts['input_dtype']}; {targets}"
