"""`disttrain evaluate`: loss and accuracy of a trained network on a split or on another file."""

from __future__ import annotations

from typing import Annotated

import typer

from disttrain.cli.options import AsJson, Checkpoint, Verbose, listen, print_json, say

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
    file: Checkpoint,
    data: Data = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test [default: test; all of another file]."),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the loss and accuracy of a checkpoint; names, data and normalization come from it."""
    from disttrain.comm import connect
    from disttrain.runs.trained import load_trained

    comm = connect()
    listen(verbose=verbose)
    trained = load_trained(file, comm)
    found = trained.samples(data, split)
    name = found.split.name
    score = trained.judge(found.split, f"{data} ({name})" if data else f"the {name} split")
    if not comm.is_root:
        return
    for note in found.notes:
        say(note, as_json)
    if as_json:
        print_json(
            {
                "file": str(trained.path),
                "step": trained.snapshot.step,
                "data": data or trained.settings.data.path,
                "split": name,
                "rows": found.split.count,
                "loss": score.loss,
                "accuracy": score.accuracy,
                "notes": list(found.notes),
            }
        )
        return
    accuracy = "" if score.accuracy is None else f", accuracy {100 * score.accuracy:.2f} %"
    say(f"{trained.path} (step {trained.snapshot.step}), {name}: loss {score.loss:.6g}{accuracy}")
