"""`disttrain evaluate`: loss and accuracy of a trained network on a split of a data file."""

from __future__ import annotations

from typing import Annotated

import typer

from disttrain.cli.options import AsJson, Checkpoint, Data, Verbose, listen, print_json, say

__all__ = ["command"]


def command(
    file: Checkpoint,
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the loss and accuracy of a checkpoint; data and normalization come from it."""
    from disttrain.comm import connect
    from disttrain.runs.trained import load_trained

    comm = connect()
    listen(verbose=verbose)
    trained = load_trained(file, comm)
    score = trained.evaluate(data, split=split)
    if not comm.is_root:
        return
    if as_json:
        print_json(
            {
                "file": str(trained.path),
                "step": trained.snapshot.step,
                "split": split,
                "loss": score.loss,
                "accuracy": score.accuracy,
            }
        )
        return
    accuracy = "" if score.accuracy is None else f", accuracy {100 * score.accuracy:.2f} %"
    say(f"{trained.path} (step {trained.snapshot.step}), {split}: loss {score.loss:.6g}{accuracy}")
