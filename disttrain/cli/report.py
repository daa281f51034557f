"""`disttrain report`: a page about a run, a study, folds, an ensemble, or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.cli.own import Layers, own_layers

__all__ = ["command"]


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="The folder of a run, a study, folds or an ensemble; or several runs.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="Write here [default: report.html in PATH; of several runs, beside them].",
        ),
    ] = None,
    layers: Layers = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html: one page that holds curves, scores, mistakes, pictures and the run file.

    Of several runs it is one table and their curves. It needs no network to be read.
    """  # fmt: skip
    from disttrain.comm import connect
    from disttrain.report.write import write_report

    comm = connect()
    with comm.together("writing the report", by_root=True):
        if comm.is_root:
            own = own_layers(layers)
            written = write_report(
                paths, output, lambda line: say(line, as_json), layers=own.layers, loss=own.loss
            )
            if as_json:
                print_json({"report": str(written), "bytes": written.stat().st_size})
            else:
                say(f"{written} ({written.stat().st_size / 1024:,.0f} KiB)")
