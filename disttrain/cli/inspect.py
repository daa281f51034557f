"""`disttrain inspect`: what a checkpoint, a run folder, a data file or a study holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from disttrain.cli.inspect_several import lines_of, outcome_in
from disttrain.cli.options import AsJson, print_json, say

__all__ = ["command"]


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint, a run folder, a data file, or the folder of an ensemble, a study "
            "or a cross-validation.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Print what a file holds."""
    from disttrain.comm import connect

    comm = connect()
    with comm.together("inspecting"):
        several = outcome_in(file)
        facts = several or (_data(file) if _is_data(file) else _checkpoint(file))
        tell = lines_of if several else _of_data if "splits" in facts else _of_checkpoint
        lines = [] if as_json else list(tell(facts))
    if comm.is_root and as_json:
        print_json(facts)
    elif comm.is_root:
        for line in lines:
            say(line)


def _is_data(file: Path) -> bool:
    """Return True for a data file; whatever can't be opened is left to the checkpoint's reader."""
    from disttrain.checkpoint import is_checkpoint
    from disttrain.data import looks_like_data

    return file.is_file() and not is_checkpoint(file) and looks_like_data(str(file))


def _data(file: Path) -> dict[str, Any]:
    from disttrain.data import read_facts

    data = read_facts(str(file))
    return {
        "format": "disttrain-data",
        "path": str(file),
        "splits": {
            name: {
                "rows": s.rows,
                "shape": list(s.shape),
                "dtype": str(s.dtype),
                "targets": "classes" if s.has_classes else f"{list(s.target_shape)} numbers",
            }
            for name, s in data.splits.items()
        },
        "unlabelled": data.unlabelled.rows if data.unlabelled else 0,
        "classes": list(data.class_names),
    }


def _of_data(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what people are told of a data file."""
    from disttrain.data import in_words

    yield f"data file: {facts['path']}"
    for name, split in facts["splits"].items():
        yield (
            f"{name}: {split['rows']:,} rows of {in_words(tuple(split['shape']))} "
            f"({split['dtype']}), targets: {split['targets']}"
        )
    if facts["unlabelled"]:
        yield f"unlabelled: {facts['unlabelled']:,} rows without targets"
    yield from _classes(facts["classes"])


def _of_checkpoint(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what people are told of a checkpoint."""
    from disttrain.data import in_words

    data, last, best = facts["data"], facts["last"], facts["best_validation_loss"]
    yield f"checkpoint: {facts['path']}"
    yield f"run: {facts['name']}, step {facts['step']:,}, epoch {facts['epoch']:g}"
    yield f"digest: {facts['digest']}"
    yield "parameters:"
    for name, tensor in facts["parameters"].items():
        yield f"  {name}: {tensor}"
    if data["samples"]:
        yield f"data path: {data['path']}"
        yield f"samples: {', '.join(f'{n:,} {split}' for split, n in data['samples'].items())}"
    else:
        yield "data: none, the network was imported"
    shape = tuple(data.get("shape", [data["inputs"]]))
    yield f"a sample: {in_words(shape)} ({data['input_dtype']})"
    yield f"normalization: {facts['normalization']}"
    yield from _classes(data["class_names"] or range(data["classes"]))
    if best is not None:
        yield f"least validation loss: {best:.6g} at step {facts['best_step']:,}"
    if last:
        shown = (name for name in LAST if last.get(name) is not None)
        numbers = (f"{name.replace('_', ' ')} {last[name]:.4g}" for name in shown)
        yield f"last interval: {', '.join(numbers)}"


LAST = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")


def _classes(names: Sequence[Any]) -> Iterator[str]:
    if names:
        yield f"classes: {len(names)} ({', '.join(map(str, names))})"


def _checkpoint(file: Path) -> dict[str, Any]:
    from disttrain.checkpoint import find, load

    path = find(file)
    snapshot = load(path)
    settings = snapshot.settings(path)
    progress = snapshot.progress
    return {
        "format": "disttrain-checkpoint",
        "path": str(path),
        "name": settings.name,
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "digest": snapshot.digest,
        "parameters": {
            name: f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}"
            for name, tensor in snapshot.parameters.items()
        },
        "normalization": snapshot.normalization["kind"],
        "data": snapshot.state["data"],
        "best_validation_loss": progress.best_loss,
        "best_step": progress.best_step if progress.best_loss is not None else None,
        "intervals": len(progress.history),
        "last": progress.history[-1] if progress.history else None,
    }
