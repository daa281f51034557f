"""`disttrain prepare`, second half: the small sets that ship with disttrain, and generated ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import Quiet
from disttrain.cli.prepare import AsJson, Out, Seed, TestFraction, reading, write
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from disttrain.data.importers import Imported

__all__ = ["app"]

app = typer.Typer()

From = Annotated[
    Path | None,
    typer.Option("--from", metavar="FOLDER", help="Folder with the table, instead of data/small."),
]
Rows = Annotated[
    int, typer.Option(min=1, max=10_000_000, help="Number of rows of all classes together.")
]
Noise = Annotated[
    float, typer.Option(min=0.0, help="Standard deviation of the noise added to the features.")
]
DrawSeed = Annotated[
    int,
    typer.Option(
        min=0, max=2**63 - 1, help="Seed of the random draws and of the shuffle of the rows."
    ),
]


# The small sets that ship, and the help of their commands.
SHIPPED = {
    "digits": "Handwritten digits, 1797 rows of 8 x 8 pixels; shipped.",
    "iris": "Fisher's irises, 150 rows, 4 features, 3 classes; shipped.",
    "wine": "Wines of three growers, 178 rows, 13 features, 3 classes; shipped.",
    "breast-cancer": "Breast tumours of Wisconsin, 569 rows, 30 features, 2 classes; shipped.",
}


def _small(name: str) -> Callable[..., None]:
    """Return the command for a set that ships."""

    def command(
        out: Out,
        source: From = None,
        test_fraction: TestFraction = 0.2,
        seed: Seed = 0,
        as_json: AsJson = False,
        quiet: Quiet = False,
    ) -> None:
        """Write the set that ships under this name."""
        from disttrain.data.importers.small import import_small

        with reading(out, quiet=quiet):
            made = import_small(name, source)
        _write_made(out, made, test_fraction, seed, as_json, quiet)

    return command


for _name, _says in SHIPPED.items():
    app.command(_name, help=_says)(_small(_name))


@app.command()
def xor(
    out: Out,
    rows: Annotated[int | None, typer.Option(min=1, max=10_000_000, help="[default: 400]")] = None,
    noise: Annotated[float | None, typer.Option(min=0.0, help="[default: 0.15]")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="The four points, once each.")] = False,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Exclusive or: clusters at the corners of a square, or the four corners."""
    if exact and not (rows is None and noise is None and test_fraction == 0):
        raise UsageError("--exact is four points: leave --rows, --noise and --test-fraction out")
    rows, noise = 400 if rows is None else rows, 0.15 if noise is None else noise
    _generate("xor", out, rows, noise, test_fraction, seed, as_json, quiet, exact=exact)


@app.command()
def moons(
    out: Out,
    rows: Rows = 400,
    noise: Noise = 0.1,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Two half circles that reach into one another."""
    _generate("moons", out, rows, noise, test_fraction, seed, as_json, quiet)


@app.command()
def spirals(
    out: Out,
    rows: Rows = 194,
    noise: Noise = 0.0,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The two-spirals problem of 1988: 97 points on each."""
    _generate("spirals", out, rows, noise, test_fraction, seed, as_json, quiet)


@app.command()
def blobs(
    out: Out,
    classes: Annotated[
        int, typer.Option(min=2, max=1000, help="Number of classes, each one cluster.")
    ] = 3,
    rows: Rows = 400,
    noise: Noise = 1.0,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Round clusters on a circle, neighbours 4 apart."""
    _generate("blobs", out, rows, noise, test_fraction, seed, as_json, quiet, classes=classes)


@app.command()
def line(
    out: Out,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Smallest distance of a point from the line.")
    ] = 0.1,
    rows: Rows = 200,
    noise: Noise = 0.0,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Two classes that a line separates; with --noise not quite."""
    _generate("line", out, rows, noise, test_fraction, seed, as_json, quiet, margin=margin)


@app.command()
def curve(
    out: Out,
    function: Annotated[
        str, typer.Option(metavar="F", help="Function of x: + - * / **, sin, exp, abs, ...")
    ] = "sin(3*x) + 0.3*x",
    low: Annotated[float, typer.Option(help="Smallest x.")] = -3.0,
    high: Annotated[float, typer.Option(help="Largest x.")] = 3.0,
    rows: Annotated[int, typer.Option(min=1, max=10_000_000)] = 200,
    noise: Annotated[
        float, typer.Option(min=0.0, help="Standard deviation of the noise added to y.")
    ] = 0.0,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Regression: a function of one variable."""
    _generate(
        "curve", out, rows, noise, test_fraction, seed, as_json, quiet,
        function=function, low=low, high=high,
    )  # fmt: skip


@app.command()
def fish(
    out: Out,
    rows: Rows = 400,
    noise: Annotated[
        float, typer.Option(min=0.0, help="Multiplies the spread of both classes.")
    ] = 1.0,
    test_fraction: TestFraction = 0.0,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Salmon and sea bass, by length in metres and weight in grams."""
    _generate("fish", out, rows, noise, test_fraction, seed, as_json, quiet)


def _generate(
    name: str, out: Path, rows: int, noise: float, test_fraction: float, seed: int, as_json: bool,
    quiet: bool, **others: Any,
) -> None:  # fmt: skip
    """Draw the set by the function of that name, and write it."""
    from disttrain.data.importers import generated

    with reading(out, quiet=quiet):
        made = getattr(generated, name)(rows, noise, seed, **others)
    _write_made(out, made, test_fraction, seed, as_json, quiet)


def _write_made(
    out: Path, made: Imported, test_fraction: float, seed: int, as_json: bool, quiet: bool
) -> None:
    from disttrain.data.importers.holdout import hold_out

    write(out, hold_out(made, test_fraction, seed), seed, as_json, quiet=quiet)
