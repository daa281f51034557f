"""`disttrain import`: a network of another program as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An .onnx or a .safetensors file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The checkpoint to write (.h5).")],
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN.toml", help="safetensors: the run file that has its layers."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS",
            help="safetensors: units and activation of each layer, as in 800:relu,10.",
        ),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="safetensors with --layers: softmax or squared.")
    ] = "softmax",
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="The data file that the network is for.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a network; `evaluate`, `predict` and `model.from` take what it writes.

    A file that `disttrain export` wrote needs no more than its name.
    """
    from disttrain.comm import connect
    from disttrain.interop.exchange import adopt

    comm = connect()
    with comm.together("importing", by_root=True):
        facts = adopt(file, out, run, layers, loss, data) if comm.is_root else {}
    if comm.is_root and as_json:
        print_json(facts)
    elif comm.is_root:
        say(f"wrote {facts['path']}: {facts['about']}")
