"""`disttrain search`: tries the candidates of a study file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import (
    AsJson,
    GoOn,
    Inject,
    Quiet,
    Verbose,
    injected,
    listen,
    print_as_root,
    print_json,
    teller,
)
from disttrain.shown import decimals

if TYPE_CHECKING:
    from disttrain.config import Study
    from disttrain.training.injection import Injection

__all__ = ["command"]

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The study's folder [default: runs/<study>].")
]


def command(
    study_file: StudyFile,
    output: Output = None,
    resume: GoOn = False,
    inject: Inject = [],  # noqa: B006 - typer reads the default, nobody writes to it
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search for the best settings: grid, random or TPE, over groups of ranks, coarse to fine."""
    from disttrain import config
    from disttrain.comm import connect
    from disttrain.selection.search import search

    comm = connect()

    def configured() -> tuple[Study, Injection]:
        """Return what the command line asks for."""
        with comm.together("configuration"):
            listen(quiet, verbose)
            return config.read_study(study_file), injected(inject, comm)

    study, injection = comm.survive(configured)
    named = output or Path("runs") / study_file.stem
    folder = named.absolute()
    tell = teller(quiet, as_json, comm)
    told = search(study, folder, comm, resume=resume, say=tell, injection=injection)
    if not comm.is_root:
        return
    print_as_root(comm)
    for line in [*_best(told, named), *_pictures(told, folder), f"study in {named}"]:
        tell(line)
    if as_json:
        print_json(told | {"output": str(folder)})


def _best(told: dict[str, Any], folder: Path) -> list[str]:
    best = told["best"]
    settings = ", ".join(f"{key} = {value}" for key, value in best["settings"].items())
    return [
        f"best of {len(told['candidates'])}: candidate {best['number']}, {told['metric']} "
        f"{decimals(best['score'])}: {settings}",
        f"train it again by `disttrain train {folder / 'best.toml'}`",
    ]


def _pictures(told: dict[str, Any], folder: Path) -> list[str]:
    from disttrain.errors import UsageError
    from disttrain.report import figure, study

    try:
        figure.save(study.figure(told), folder / study.NAME)
    except UsageError as error:
        return [f"no picture: {error}"]
    return []
