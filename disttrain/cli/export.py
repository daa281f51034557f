"""`disttrain export`: a trained network as a file of another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, Float64, print_json, say

__all__ = ["command"]


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder (its best model), a checkpoint or an ensemble."
        ),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write: model.onnx, model.safetensors.")
    ],
    prepared: Annotated[
        bool,
        typer.Option(help="ONNX: take the numbers that a table's cells became, not the cells."),
    ] = False,
    average: Annotated[
        bool, typer.Option(help="The running average of the weights (model.average), not these.")
    ] = False,
    float64: Float64 = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained network for other programs: ONNX (whole) or safetensors (its weights).

    The ONNX model takes rows as the data file has them: normalization is inside.
    """
    from disttrain.comm import connect
    from disttrain.interop.exchange import export
    from disttrain.runs.ensembled import load_model

    comm = connect()
    trained = load_model(run, comm, averaged=average, float64=float64)
    with comm.together("exporting", by_root=True):
        facts = export(trained, file, prepared) if comm.is_root else {}
    if comm.is_root and as_json:
        print_json(facts)
    elif comm.is_root:
        say(f"wrote {facts['path']}: {facts['about']}")
