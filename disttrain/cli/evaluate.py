"""`disttrain evaluate`: loss and accuracy of trained networks on a split or on another file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, Verbose, listen, print_json, say
from disttrain.cli.own import Layers, own_layers

if TYPE_CHECKING:
    from disttrain.runs.trained import Trained

__all__ = ["command"]


Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Another file with targets: a data file, a table, an .npz, a folder of images for "
        "each class. It is used whole [default: the data of the training].",
    ),
]


def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Checkpoints, or run folders (their best models)."),
    ],
    data: Data = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test [default: test; all of another file]."),
    ] = None,
    layers: Layers = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the loss and accuracy of checkpoints; names, data and normalization come from them."""
    from disttrain.comm import connect
    from disttrain.runs.trained import load_trained

    comm = connect()
    listen(verbose=verbose)
    scores = []
    for file in files:
        with comm.together("reading the arguments"):
            own = own_layers(layers)
        scores.append(_scored(load_trained(file, comm, own.layers, own.loss), data, split))
    if not comm.is_root:
        return
    for note in dict.fromkeys(note for score in scores for note in score["notes"]):
        say(note, as_json)
    if as_json:
        print_json(scores if len(files) > 1 else scores[0])
    elif len(files) > 1:
        for line in columns([HEAD, *map(_row, scores)]):
            say(line)
    else:
        (score,) = scores
        accuracy = "" if score["accuracy"] is None else f", accuracy {_percent(score)}"
        say(
            f"{score['file']} (step {score['step']}), {score['split']}: "
            f"loss {score['loss']:.6g}{accuracy}"
        )


def _scored(trained: Trained, data: str | None, split: str | None) -> dict[str, Any]:
    """Return what a network reaches, as JSON values. Collective."""
    found = trained.samples(data, split)
    name = found.split.name
    score = trained.judge(found.split, f"{data} ({name})" if data else f"the {name} split")
    return {
        "file": str(trained.path),
        "step": trained.snapshot.step,
        "data": data or trained.settings.data.path,
        "split": name,
        "rows": found.split.count,
        "loss": score.loss,
        "accuracy": score.accuracy,
        "notes": list(found.notes),
    }


HEAD = ("", "step", "split", "rows", "loss", "accuracy")


def _row(score: dict[str, Any]) -> list[str]:
    """Return one line of the table of several networks."""
    loss = f"{score['loss']:.6g}"
    named = (score["file"], str(score["step"]), score["split"], f"{score['rows']:,}", loss)
    return [*named, "-" if score["accuracy"] is None else _percent(score)]


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['accuracy']:.2f} %"
