"""`disttrain ensemble`: networks whose predictions are averaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import (
    AsJson,
    GoOn,
    Inject,
    Quiet,
    RanksEach,
    Set,
    Verbose,
    injected,
    listen,
    print_as_root,
    print_json,
    teller,
)
from disttrain.cli.own import Layers, Own, own_layers, read_with

if TYPE_CHECKING:
    from disttrain.comm import Communicator
    from disttrain.config import Settings
    from disttrain.training.injection import Injection

__all__ = ["command", "members_of"]


Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN.toml|STUDY|FOLDS|RUN", help="A run file; the folder of a study or run."
    ),
]
Members = Annotated[
    int | None, typer.Option(min=2, max=1000, help="Number of members to train from RUN.toml.")
]
Top = Annotated[
    int | None,
    typer.Option(
        min=2, max=1000, help="Take so many of the best of a STUDY; of FOLDS, train them."
    ),
]
Last = Annotated[
    int | None, typer.Option(min=2, max=1000, help="Take so many last checkpoints of a RUN.")
]
Average = Annotated[
    bool, typer.Option("--average", help="Take the running average of a RUN (model.average).")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR",
        help="Its folder [default: runs/<name>-ensemble; `ensemble` in a STUDY or a RUN].",
    ),
]  # fmt: skip
On = Annotated[str | None, typer.Option(help="Score on this split [default: test].")]


def command(
    source: Source,
    members: Members = None,
    top: Top = None,
    checkpoints: Last = None,
    average: Average = False,
    output: Output = None,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    ranks_each: RanksEach = 1,
    layers: Layers = None,
    resume: GoOn = False,
    inject: Inject = [],  # noqa: B006
    split: On = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Average the predictions of several networks; evaluate, predict, verify and report take it."""
    from disttrain.comm import connect

    comm = connect()
    asked = {"members": members, "top": top, "checkpoints": checkpoints, "average": average}

    def configured() -> tuple[str, Own, Path, list[Settings], Injection]:
        """Return what the command line asks for."""
        with comm.together("configuration"):
            listen(quiet, verbose)
            kind, settings, own = _asked(source, asked, set_, layers)
            name = f"runs/{settings.name}-ensemble" if settings else source / "ensemble"
            new = _new(source, kind, members or top or 1, settings)
            return kind, own, (output or Path(name)).absolute(), new, injected(inject, comm)

    kind, own, folder, new, injection = comm.survive(configured)
    tell, given = teller(quiet, as_json, comm), {"layers": own.layers, "loss": own.loss}
    how = {"ranks_each": ranks_each, "resume": resume, "say": tell, "injection": injection}
    facts = _made(source, kind, asked[kind], new, folder, comm, how, given | {"split": split})
    if comm.is_root:
        for line in [*members_of(facts), f"{'ensemble:':12}{folder}"]:
            tell(line)
    if comm.is_root and as_json:
        print_as_root(comm)
        print_json(facts | {"output": str(folder)})


def _made(
    source: Path, kind: str, count: int | None, new: list[Settings], folder: Path,
    comm: Communicator, how: dict[str, Any], given: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Train new members, if any, score all with their ensemble, return the table. Collective."""
    from disttrain.selection import ensemble

    files = ensemble.train_each(new, folder, comm, **how, **given) if new else []

    def combined() -> dict[str, Any]:
        """Score the members and their ensemble."""
        members = files or ensemble.found(source, kind, count or 1, comm)
        return ensemble.combine(members, folder, comm, kind=kind, **given)

    return comm.survive(combined)


def _new(source: Path, kind: str, count: int, settings: Settings | None) -> list[Settings]:
    """Return the settings of the members that are to be trained, if any are."""
    from disttrain.selection.ensemble import by_seed
    from disttrain.selection.finals import best_of_folds

    if settings:
        return by_seed(settings, count)
    folds = kind == "top" and (source / "folds.json").exists()
    return best_of_folds(source, count) if folds else []


def _asked(
    source: Path, asked: dict[str, Any], changes: list[str], layers: str | None
) -> tuple[str, Settings | None, Own]:
    """Return the kind of ensemble, the settings of new members, and layers of a user's own."""
    from disttrain.errors import UsageError

    kinds = [kind for kind, given in asked.items() if given]
    if len(kinds) != 1:
        raise UsageError("give one of --members N, --top N, --checkpoints N and --average")
    if kinds == ["members"]:
        return "members", *read_with(source, changes, layers)
    if changes:
        raise UsageError("--set is for the run file of new members (--members)")
    if not source.is_dir():
        raise UsageError(
            f"{source} is not a folder: --{kinds[0]} takes the folder of a study or run"
        )
    return kinds[0], None, own_layers(layers)


def members_of(facts: dict[str, Any]) -> list[str]:
    """Return members and ensemble as a table, and the gain."""
    called = "the average" if facts["average"] else "ensemble"
    rows = [(row["path"], row) for row in facts["members"]] + [(called, facts["ensemble"])]
    measure = "R²" if "r2" in facts["ensemble"] else "accuracy"
    lines = [(name, f"{row['loss']:.5g}", _measure(row)) for name, row in rows]
    head = (f"{facts['split']} split", "loss", measure)
    gain = facts["gain"]
    points = "" if gain["accuracy"] is None else f", accuracy {100 * gain['accuracy']:+.2f} points"
    return [
        *columns([head, *lines]),
        f"against the best member: loss {-gain['loss']:+.5g}{points}",
    ]


def _measure(row: dict[str, Any]) -> str:
    if "r2" in row:
        return f"{row['r2']:.4f}"
    return "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %"
