"""`disttrain ensemble`: networks whose predictions are averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, Quiet, Set, Verbose, listen, print_json, say

__all__ = ["command"]


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN.toml|STUDY|RUN", help="A run file, a study's or run's folder."),
    ],
    members: Annotated[
        int | None,
        typer.Option(min=2, max=1000, metavar="N", help="Train N members from RUN.toml."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=2, max=1000, metavar="K", help="Take the K best of a STUDY.")
    ] = None,
    checkpoints: Annotated[
        int | None,
        typer.Option(min=2, max=1000, metavar="K", help="Take the last K checkpoints of a RUN."),
    ] = None,
    average: Annotated[
        bool, typer.Option("--average", help="Take the running average of a RUN (model.average).")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR",
            help="Its folder [default: runs/<name>-ensemble; `ensemble` in a STUDY or a RUN].",
        ),
    ] = None,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    ranks_each: Annotated[
        int, typer.Option(min=1, help="Ranks that train a member together.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on: finished members stay as they are.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Score on train, validation or test [default: test].")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Average the predictions of several networks; evaluate, predict, verify and report take it."""
    from disttrain import config
    from disttrain.comm import connect
    from disttrain.errors import UsageError
    from disttrain.selection import ensemble

    comm = connect()
    tell = (lambda line: None) if quiet else (lambda line: say(line, as_json))
    with comm.together("configuration"):
        listen(quiet, verbose)
        asked = {"members": members, "top": top, "checkpoints": checkpoints, "average": average}
        kinds = [kind for kind, given in asked.items() if given]
        if len(kinds) != 1:
            raise UsageError("give one of --members N, --top K, --checkpoints K and --average")
        if set_ and not members:
            raise UsageError("--set is for the run file of new members (--members)")
        settings = config.read(source, set_) if members else None
        name = f"runs/{settings.name}-ensemble" if settings else source / "ensemble"
        folder = (output or Path(name)).absolute()
    if members and settings:
        files = ensemble.train_members(
            settings, members, folder, comm, ranks_each=ranks_each, resume=resume, say=tell
        )
    else:
        with comm.together("opening the ensemble"):
            files = (
                ensemble.best_of_study(source, top) if top
                else ensemble.last_checkpoints(source, checkpoints) if checkpoints
                else ensemble.averaged_in(source)
            )  # fmt: skip
    facts = ensemble.combine(files, folder, comm, kind=kinds[0], split=split)
    if comm.is_root and not quiet:
        for line in [*_table(facts), f"{'ensemble:':12}{folder}"]:
            say(line, as_json)
    if comm.is_root and as_json:
        print_json(facts | {"output": str(folder)})


def _table(facts: dict[str, Any]) -> list[str]:
    """Return members and ensemble as a table, and the gain."""
    called = "the average" if facts["average"] else "ensemble"
    rows = [(row["path"], row) for row in facts["members"]] + [(called, facts["ensemble"])]
    head = (f"{facts['split']} split", "loss", "accuracy")
    lines = [
        (name, f"{row['loss']:.5g}", "-" if row["accuracy"] is None
         else f"{100 * row['accuracy']:.2f} %")
        for name, row in rows
    ]  # fmt: skip
    gain = facts["gain"]
    points = "" if gain["accuracy"] is None else f", accuracy {100 * gain['accuracy']:+.2f} points"
    return [
        *columns([head, *lines]),
        f"against the best member: loss {-gain['loss']:+.5g}{points}",
    ]
