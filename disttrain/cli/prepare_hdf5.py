"""`disttrain prepare hdf5`: HDF5 files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disttrain.cli.options import Quiet
from disttrain.cli.prepare import (
    AsJson,
    Out,
    Regression,
    Seed,
    TestFraction,
    Unlabelled,
    reading,
    write,
)
from disttrain.errors import UsageError

__all__ = ["app"]

app = typer.Typer()


@app.command()
def hdf5(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An HDF5 file of any layout.")],
    out: Out,
    inputs: Annotated[
        str,
        typer.Option(
            metavar="/PATH",
            help="The data set of the inputs; a column of a table as /table/column; several "
            "as /a,/b. Left out: what the file holds is listed.",
        ),
    ] = "",
    targets: Annotated[
        str, typer.Option(metavar="/PATH", help="The data set of the targets.")
    ] = "",
    test_inputs: Annotated[str, typer.Option(metavar="/PATH")] = "",
    test_targets: Annotated[str, typer.Option(metavar="/PATH")] = "",
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Axes are reversed, as in files of MATLAB.")
    ] = False,
    regression: Regression = False,
    test_fraction: TestFraction = 0.0,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """HDF5 of any layout (PyTables, pandas, MATLAB 7.3): name the data sets."""
    from disttrain.data.importers.hdf5 import import_hdf5
    from disttrain.data.importers.holdout import hold_out

    if bool(test_inputs) != bool(test_targets):
        raise UsageError("prepare hdf5 needs both, --test-inputs and --test-targets")
    named = {"train": (inputs, targets)}
    if test_inputs:
        named["test"] = (test_inputs, test_targets)
    with reading(out, source, quiet=quiet):
        imported = import_hdf5(source, named, transposed=transposed, regression=regression)
        imported = hold_out(imported, test_fraction, seed)
    write(out, imported, seed, as_json, unlabelled, quiet)
