"""`disttrain train`: trains what a run file says."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.cli.hints import IMPORTERS
from disttrain.cli.options import (
    AsJson,
    Inject,
    Quiet,
    Set,
    Verbose,
    injected,
    listen,
    print_as_root,
    print_json,
    teller,
)
from disttrain.cli.own import Layers, Own, read_with
from disttrain.preemption import ASKED

if TYPE_CHECKING:
    from disttrain.comm import Communicator
    from disttrain.config import Settings
    from disttrain.training import Callback
    from disttrain.training.injection import Injection

__all__ = ["command"]


Run = Annotated[
    Path,
    typer.Argument(metavar="RUN.toml", help="The run file; with --resume also a run folder."),
]


Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder [default: runs/<name>].")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest whole checkpoint.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that the folder holds.")
]
Accept = Annotated[
    bool, typer.Option("--accept-changes", help="Resume although the result will be another one.")
]

Loggers = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="Write the numbers of each interval for another program too: csv, tensorboard, "
        "mlflow, wandb, or MODULE:CLASS of your own.",
    ),
]

# The commands that go on with what is no run.
GO_ON_WITH = {"a study": "search STUDY.toml", "folds": "cross-validate RUN.toml"}

Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write what each rank did when: a timeline for Perfetto or chrome://tracing.",
    ),
]


def command(
    run_file: Run,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    output: Output = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    accept_changes: Accept = False,
    layers: Layers = None,
    inject: Inject = [],  # noqa: B006 - as above
    logger: Loggers = [],  # noqa: B006 - as above
    trace: Trace = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a network; under mpirun or `disttrain launch` on all ranks together."""
    from disttrain.comm import connect
    from disttrain.runs import train
    from disttrain.runs.refused import unless_refused
    from disttrain.runs.traced import traced

    comm = connect()

    def configured() -> tuple[Settings, tuple[Path, Path], Own, Injection, list[Callback]]:
        """Return what the command line asks for."""
        with comm.together("configuration"):
            listen(quiet, verbose)
            injection = injected(inject, comm)
            path, resumed = _named(run_file, resume)
            settings, own = _settings(path, set_, layers, logger)
            paths = output or resumed or Path("runs") / settings.name, path
            callbacks = _callbacks(settings, paths, comm, quiet, as_json)
            return settings, paths, own, injection, callbacks

    settings, paths, own, injection, callbacks = comm.survive(configured)
    folder = paths[0]
    with traced(trace, comm, teller(quiet, as_json)), unless_refused(folder, comm):
        summary = train(
            settings, folder.absolute(), comm, resume=resume, overwrite=overwrite,
            accept_changes=accept_changes, layers=own.layers, loss=own.loss, preemption=ASKED,
            injection=injection, callbacks=callbacks,
            standby=partial(_callbacks, settings, paths, comm, quiet, as_json),
        )  # fmt: skip
    if as_json and comm.is_root:
        print_json(summary | {"output": str(folder.absolute())})


def _settings(
    path: Path, changes: list[str], layers: str | None, loggers: list[str]
) -> tuple[Settings, Own]:
    """Return the settings of a run file, and the layers of a user's own."""
    settings, own = read_with(path, changes, layers)
    named = [*settings.logging.loggers, *loggers]
    return settings.replace(logging={"loggers": named}) if loggers else settings, own


def _callbacks(
    settings: Settings, paths: tuple[Path, Path], comm: Communicator, quiet: bool, as_json: bool
) -> list[Callback]:
    """Return what rank 0 calls: the progress, loggers, pictures at the end.

    `paths` are those of the run folder and of the run file.
    """
    folder, run_file = paths
    found: list[Callback] = []
    if settings.logging.loggers:
        from disttrain.interop.loggers.process import loggers_of

        found = loggers_of(settings, folder)
    if not comm.is_root:
        return []
    from disttrain.api.progress import Progress, Warnings

    print_as_root(comm)
    found.insert(0, Warnings() if quiet else Progress(folder, as_json, run_file))
    if settings.plot:
        from disttrain.report.at_the_end import Pictures

        found.insert(0, Pictures(folder))
    return found


def _runs_beside(path: Path) -> str:
    """Return the names of the runs that lie beside `path`, as the end of a sentence."""
    from disttrain.written import run_at

    found = sorted(p.parent for p in path.parent.glob("*/run.toml") if run_at(p.parent))
    return f"; the runs beside it are {', '.join(map(str, found[:9]))}" if found else ""


def _named(path: Path, resume: bool) -> tuple[Path, Path | None]:
    """Return the run file, and the folder of the run to go on with where `path` names one."""
    from disttrain.errors import UsageError
    from disttrain.runs.held import kind_in
    from disttrain.written import run_at

    if path.suffix.lower() in IMPORTERS and path.is_file():
        raise UsageError(
            f"{path} is not a run file: name the data file in one (`path` in the section [data]), "
            "with the layers of the network; `disttrain prepare` makes data files of tables and "
            "images"
        )
    run = run_at(path)
    if run and resume:
        return run / "run.toml", run
    if resume and (kind := kind_in(path)) in GO_ON_WITH:
        raise UsageError(
            f"{path} holds {kind}: `disttrain {GO_ON_WITH[kind]} --output {shlex.quote(str(path))} "
            "--resume` goes on with it"
        )
    if resume and (path.is_dir() or not (path.suffix or path.exists())):
        what = "holds no run" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {what}: there is nothing to go on with{_runs_beside(path)}")
    if run and path.is_dir():
        raise UsageError(
            f"{path} is the folder of a run: go on with it by --resume, or begin another by its "
            f"run file {path / 'run.toml'} and another --output"
        )
    return path, None
