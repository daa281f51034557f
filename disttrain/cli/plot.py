"""`disttrain plot`: the pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.cli.own import Layers, Own, own_layers

__all__ = ["command"]


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Draw into this folder [default: RUN].")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="The sample (of the test rows) to draw feature maps of.")
    ] = 0,
    layers: Layers = None,
    as_json: AsJson = False,
) -> None:
    """Draw curves, confusion, weights, decision regions, their growth and the hidden layers' map.

    Also what pre-training learned, and filters and feature maps of convolutions.

    Only what makes sense for the run; what is not drawn is said, with the reason.
    """
    from disttrain.comm import connect

    comm = connect()
    with comm.together("drawing", by_root=True):
        if comm.is_root:
            _draw(run, output or run, own_layers(layers), as_json, sample)


def _draw(run: Path, output: Path, own: Own, as_json: bool, sample: int) -> None:
    """Draw and print (rank 0)."""
    from disttrain.errors import CheckpointError
    from disttrain.report.pictures import draw_all, unfit

    pictures = []
    for picture in draw_all(run, output, sample=sample, layers=own.layers, loss=own.loss):
        if picture.path or picture.failed:
            say(picture.line, as_json)
        pictures.append(picture)
    drawn = {p.name: str(p.path) for p in pictures if p.path}
    if not drawn:
        raise CheckpointError(f"{run} has nothing to draw: {pictures[-1].reason}")
    if left_out := unfit(pictures):
        say(f"not drawn: {left_out}", as_json)
    if as_json:
        reasons = {p.name: p.reason for p in pictures if not p.path}
        print_json({"run": str(run), "pictures": drawn, "not_drawn": reasons})
