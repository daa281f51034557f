"""`disttrain draw`: a network as units and weighted edges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.cli.own import Layers, own_layers

__all__ = ["command"]


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|RUN.toml",
            help="A checkpoint or run folder; a run file, with its initial weights; or given "
            "weights: layers = [{ W = [[3, 5]], b = [1], activation = 'sign' }]",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The picture: .svg or .png.")
    ] = Path("network.svg"),
    layers: Layers = None,
    as_json: AsJson = False,
) -> None:
    """Draw a network as units and weighted edges, of a small one with the weights written.

    One with convolutions is drawn as blocks with the shapes of what layers give.
    """
    from disttrain.comm import connect
    from disttrain.report.drawing import draw_file

    comm = connect()
    with comm.together("drawing", by_root=True):
        if comm.is_root:
            own = own_layers(layers)
            draw_file(file, output, own.layers, own.loss)
    if comm.is_root and as_json:
        print_json({"file": str(file), "picture": str(output)})
    elif comm.is_root:
        say(str(output))
