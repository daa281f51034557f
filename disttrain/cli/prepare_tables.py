"""`disttrain prepare csv` and `parquet`: tables of text, or Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from disttrain.cli.options import Quiet
from disttrain.cli.prepare import (
    AsJson,
    Out,
    Regression,
    Seed,
    TestFraction,
    Unlabelled,
    existing,
    reading,
    write,
)
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.data.preparation import Preparation

__all__ = ["app"]

app = typer.Typer()


Source = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        help="The table: text with commas, semicolons, tabs, bars or blanks, also in .gz, "
        ".bz2, .xz or .zip; Parquet; a pipe, - for standard input.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Target column; several as a,b; by number (from 1) where there is no header. "
        "Left out: label, target, class or y, else the last.",
    ),
]
Columns = Annotated[
    str | None, typer.Option(metavar="A,B,...", help="Only these columns are inputs.")
]
Drop = Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns that are not inputs.")]
Weights = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column with the weight of each row; it is not an input."),
]
Pixels = Annotated[
    bool, typer.Option("--pixels", help="Inputs are pixels from 0 to 255: kept as bytes.")
]
Categories = Annotated[
    Literal["one-hot"] | None,
    typer.Option(
        help="A column of text gives an input for each different cell, also where these are "
        "many or some are numbers."
    ),
]
Missing = Annotated[
    Literal["mean", "median", "drop", "indicator"] | None,
    typer.Option(
        help="Missing numbers become the mean or median of the column, with indicator the mean "
        "and an input that says so; drop: such rows are left out. Left out: they are refused."
    ),
]
Decimal = Annotated[str, typer.Option(help="The decimal sign.")]
Na = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="More cells that say that something is missing."),
]
Test = Annotated[Path | None, typer.Option(metavar="FILE", help="A table to test on.")]
Validation = Annotated[Path | None, typer.Option(metavar="FILE", help="A table to validate on.")]
Like = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA.h5",
        help="IN is a table to test on: it is read as the one was that DATA.h5 was made of, "
        "and keeps its order.",
    ),
]


def table(
    source: Source,
    out: Out,
    target: Target = None,
    columns: Columns = None,
    drop: Drop = None,
    weights: Weights = None,
    pixels: Pixels = False,
    categories: Categories = None,
    missing: Missing = None,
    decimal: Decimal = ".",
    na: Na = None,
    test: Test = None,
    validation: Validation = None,
    like: Like = None,
    regression: Regression = False,
    test_fraction: TestFraction = 0.0,
    unlabelled: Unlabelled = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A table: one row per sample, with or without a header."""
    from disttrain.data.importers.holdout import hold_out
    from disttrain.data.importers.tables import Options, import_table

    if len(decimal) != 1 or decimal.isalnum():
        raise UsageError(f"--decimal is '{decimal}', but must be one sign, such as ,")
    options = Options(
        target, regression, columns, drop, pixels, categories == "one-hot", missing or "refuse",
        decimal, tuple(na.split(",")) if na is not None else (), weights,
    )  # fmt: skip
    if like is not None and (options != Options() or test or validation or test_fraction):
        raise UsageError("--like says all of how a table is read: leave the other options out")
    others = {"validation": validation, "test": test}
    given = {split: path for split, path in others.items() if path is not None}
    with reading(out, source, *given.values(), *([like] if like else []), quiet=quiet) as read:
        imported = import_table(
            source, options, others=given, like=_preparation_of(like), room=existing(out), read=read
        )
        imported = hold_out(imported, test_fraction, seed, existing(out))
    write(out, imported, seed, as_json, unlabelled, quiet)


app.command("csv")(table)
app.command("parquet")(table)


def _preparation_of(path: Path | None) -> Preparation | None:
    from disttrain.data import read_facts

    if path is None:
        return None
    preparation = read_facts(str(path)).preparation
    if preparation is None:
        raise UsageError(f"{path} does not say how it was made: prepare the training table again")
    return preparation
