"""`disttrain export`: a trained network as a file of another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, Float64, print_json, say

__all__ = ["command"]

Float32 = Annotated[
    bool,
    typer.Option(
        "--float32",
        help="ONNX: every layer in float32, for runtimes without float64 [default: dense layers in "
        "float64, as `predict` computes them].",
    ),
]


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
    float32: Float32 = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained network for other programs: ONNX (whole) or safetensors (its weights).

    The ONNX model takes rows as the data file has them: normalization is inside.
    """
    from disttrain.comm import connect
    from disttrain.errors import UsageError
    from disttrain.interop.exchange import export
    from disttrain.runs.ensembled import load_model

    comm = connect()
    with comm.together("reading the arguments"):
        if float32 and float64:
            raise UsageError("--float32 and --float64 can't both be given")
    trained = load_model(run, comm, averaged=average, float64=float64)
    with comm.together("exporting", by_root=True):
        facts = export(trained, file, prepared, float32) if comm.is_root else {}
    if comm.is_root and as_json:
        print_json(facts)
    elif comm.is_root:
        say(f"wrote {facts['path']}: {facts['about']}")
