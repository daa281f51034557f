"""The command line: one file per command, each parses, calls one function, prints."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from disttrain.cli import (
    adopt,
    bench,
    check,
    compare,
    cross_validate,
    doctor,
    draw,
    drill,
    ensemble,
    env,
    evaluate,
    export,
    inspect,
    launch,
    plot,
    predict,
    prepare,
    prepare_hdf5,
    prepare_small,
    prepare_tables,
    report,
    search,
    template,
    train,
    verify,
    watch,
)
from disttrain.cli.examples import show_examples
from disttrain.cli.hints import hint, plainly
from disttrain.environment import STATUS, VERSION, launched, leave_status, prepare_blas
from disttrain.errors import Dismissed, DisttrainError, LauncherError
from disttrain.shown import shown, shown_lines

__all__ = ["app", "main"]


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        print(f"disttrain {VERSION}")
        raise typer.Exit


class Commands(TyperGroup):
    """The commands. Typer would end by itself, with code 130, what is raised below as Stopped."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, BrokenPipeError) as error:
            raise Stopped from error


class Stopped(Exception):
    """Carries out of typer, as its cause, an exception that typer would not let pass."""


app = typer.Typer(
    name="disttrain",
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """Synchronous data-parallel training of neural networks on MPI clusters."""


app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("predict")(predict.command)
app.command("search")(search.command)
app.command("cross-validate")(cross_validate.command)
prepare.app.add_typer(prepare_tables.app)
prepare.app.add_typer(prepare_hdf5.app)
prepare.app.add_typer(prepare_small.app)
app.add_typer(prepare.app, name="prepare")
app.command("check")(check.command)
app.command("inspect")(inspect.command)
app.command("verify")(verify.command)
app.command("compare")(compare.command)
app.command("plot")(plot.command)
app.command("draw")(draw.command)
app.command("export")(export.command)
app.command("import")(adopt.command)
app.command("ensemble")(ensemble.command)
app.command("report")(report.command)
app.command("watch")(watch.command)
app.command("doctor")(doctor.command)
app.command("env")(env.command)
app.add_typer(bench.app, name="bench")
app.command("launch", context_settings=launch.CONTEXT)(launch.command)
app.command("drill")(drill.command)
app.command("template")(template.command)

show_examples(app)

# The exit code of a command that a person interrupted: the shell's for an end by INT.
INTERRUPTED = 130


def main() -> None:
    """Run the command that `sys.argv` names and exit with the documented code."""
    if sys.stderr is not None:
        # A crash in a library's C code says where Python was.
        faulthandler.enable()
    prepare_blas()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names that the terminal's character set lacks are shown in another way, and no crash.
        sys.stdout.reconfigure(errors="backslashreplace")
    job = launched()
    if job and job.rank:
        # Rank 0 alone prints; the others print only an error of their own.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
    try:
        code = run()
    except typer.TyperException as error:
        # A word of the command line is wrong: typer's own sentence, once.
        if not (job and job.rank):
            error.message = plainly(error.message)
            error.show()  # type: ignore[attr-defined]
            if line := hint(error):
                print(shown(line), file=sys.stderr)
        _leave(error.exit_code)
    except BrokenPipeError:
        # The reader closed the pipe; without this the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except DisttrainError as error:
        _end(error, getattr(error, "details", ""))
    except Dismissed:
        _leave(0)
    except SystemExit as end:
        # An exit of this rank alone: MPI would wait for the others, and they for this one.
        _end(end, "")
    except BaseException as error:
        _end(error, "" if isinstance(error, KeyboardInterrupt) else traceback.format_exc())
    _leave(code)


def run() -> int:
    """Run the command, and return typer's exit code; whatever it raises goes on."""
    try:
        return app(prog_name="disttrain", standalone_mode=False) or 0
    except Stopped as stopped:
        raise stopped.__cause__ or stopped from None


def _end(error: BaseException, details: str) -> None:
    """Print one sentence (and, for a bug, where it happened) and exit; end all ranks if need be."""
    from disttrain.comm.world import connected
    from disttrain.errors import (
        LostRanks,
        exit_code_of,
        failure_noted,
        raised_everywhere,
        sentence_of,
    )

    comm = connected()
    if comm is None and isinstance(error, SystemExit):
        # Typer's, which has completed a word for the shell.
        sys.exit(error.code)
    if comm and comm.is_loss(error):
        # A command that does not go on without a rank, under an MPI that would.
        error, details = LostRanks("another rank died; --resume goes on"), ""
    failure, code = failure_noted(error), exit_code_of(error)
    alone = comm is None or comm.size == 1
    if alone and isinstance(error, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    collective = raised_everywhere(error)
    job = launched()
    rank = comm.rank if comm else job.rank if job and isinstance(error, LauncherError) else 0
    if rank == 0 or not (alone or collective):
        where = "" if alone or collective else f"rank {rank} failed in {comm.watch.current}: "  # type: ignore[union-attr]
        # The sentence first, by itself: mpirun may lose what comes just before an abort.
        text = sentence_of(failure or error)
        print(shown(f"disttrain: {where}{text}"), file=sys.stderr, flush=True)
        if details := failure.details if failure else details:
            print(shown_lines(details), file=sys.stderr, flush=True)
    if comm is not None and not alone and not collective:
        comm.abort(code)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit with `code`; under `disttrain launch` rank 0 leaves it in a file and all exit with 0.

    Open MPI's mpirun prints a page for any other status, ends the ranks that have not finished
    printing, and reports the code of one of them.
    """
    for number in (signal.SIGUSR1, signal.SIGTERM):
        # It is over: a request to stop changes nothing any more.
        signal.signal(number, signal.SIG_IGN)
    job, world = launched(), sys.modules.get("disttrain.comm.world")
    comm = world.connected() if world else None
    rank = comm.rank if comm else job.rank if job else 0
    if job and STATUS in os.environ and (rank or leave_status(code)):
        code = 0
    if comm is not None and comm.lost:
        comm.leave()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)
