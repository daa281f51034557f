"""`disttrain cross-validate`: judges settings by folds of the training rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import (
    AsJson,
    GoOn,
    Inject,
    Quiet,
    RanksEach,
    RunFile,
    Set,
    Verbose,
    injected,
    listen,
    print_as_root,
    print_json,
    teller,
)
from disttrain.cli.own import Layers, keys_of, read_with
from disttrain.shown import decimals

if TYPE_CHECKING:
    from disttrain.comm import Communicator
    from disttrain.config import Settings
    from disttrain.selection.validation import Plan
    from disttrain.training.injection import Injection

__all__ = ["command"]

Folds = Annotated[int, typer.Option("--folds", help="Number of parts of the training rows.")]
Repeats = Annotated[
    int, typer.Option("--repeats", min=1, help="How often the rows are divided anew.")
]
Over = Annotated[
    list[str],
    typer.Option(
        "--over", metavar="KEY=V1,V2,...",
        help="Compare these values of a key, as in schedule.learning_rate=1e-2,1e-3; again for "
        "another key: all pairs.",
    ),
]  # fmt: skip
Final = Annotated[
    bool, typer.Option("--final", help="Then train the best settings on all training rows.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The folder [default: runs/<name>-folds].")
]


def command(
    run_file: RunFile,
    folds: Folds = 5,
    repeats: Repeats = 1,
    over: Over = [],  # noqa: B006 - typer reads the default, nobody writes to it
    set_: Set = [],  # noqa: B006
    ranks_each: RanksEach = 1,
    layers: Layers = None,
    final: Final = False,
    output: Output = None,
    resume: GoOn = False,
    inject: Inject = [],  # noqa: B006
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cross-validate: stratified folds of the training rows, over groups of ranks."""
    from disttrain.comm import connect
    from disttrain.selection.validation import Plan, cross_validate

    comm = connect()

    def configured() -> tuple[Plan, str, Injection]:
        """Return what the command line asks for."""
        with comm.together("configuration"):
            listen(quiet, verbose)
            settings, own = read_with(run_file, set_, layers)
            plan = Plan(str(run_file), tuple(set_), _over(over), folds, repeats, ranks_each,
                        keys_of(own), own.layers, own.loss)  # fmt: skip
            return plan, settings.name, injected(inject, comm)

    plan, name, injection = comm.survive(configured)
    named = output or Path("runs") / f"{name}-folds"
    folder = named.absolute()
    tell = teller(quiet, as_json, comm)
    found = cross_validate(plan, folder, comm, resume=resume, say=tell, injection=injection)
    for line in _lines(found, named, final, layers) if comm.is_root else ():
        tell(line)
    if final and found["best"] is not None:
        found["final"] = _train_best(folder, plan, comm)
        if comm.is_root:
            tell(f"trained on all training rows: {named / 'final'}")
    if as_json and comm.is_root:
        print_as_root(comm)
        print_json(found | {"output": str(folder)})


def _train_best(folder: Path, plan: Plan, comm: Communicator) -> dict[str, Any]:
    """Train the best settings on all training rows; return the summary. Collective."""
    from disttrain import config
    from disttrain.preemption import ASKED
    from disttrain.runs import train

    def configured() -> Settings:
        """Read what is asked for."""
        with comm.together("configuration"):
            return config.read(folder / "best.toml")

    return train(
        comm.survive(configured), folder / "final", comm, resume=True, preemption=ASKED,
        layers=plan.layers, loss=plan.loss,
    )  # fmt: skip


def _over(given: list[str]) -> dict[str, list[Any]]:
    from disttrain import config
    from disttrain.errors import UsageError

    over = dict[str, list[Any]]()
    for text in given:
        key, values = (part.strip() for part in text.partition("=")[::2])
        if key in over:
            raise UsageError(
                f"--over {key} is given twice: give all its values at once, as {key}=value,value"
            )
        over[key] = config.literals(values)
        if not key or not over[key]:
            raise UsageError(f"--over {text}: write it as section.key=value,value")
    return over


def _lines(found: dict[str, Any], folder: Path, final: bool, layers: str | None) -> list[str]:
    lines, own = [], f" --layers {layers}" if layers else ""
    for place, row in enumerate(found["settings"]):
        name = ", ".join(f"{key} = {value}" for key, value in row["settings"].items())
        what = "a fold has failed"
        if row["mean"] is not None:
            what = (
                f"{found['metric']} {decimals(row['mean'])}, deviation {decimals(row['deviation'])}"
            )
        mark = "  best" if place == found["best"] and len(found["settings"]) > 1 else ""
        lines.append(f"{name or 'the run file'}: {what}{mark}")
    if gap := found["difference"]:
        larger = "larger" if gap["larger"] else "not larger"
        lines.append(
            f"the best is ahead of the second by {decimals(gap['difference'])}, {larger} than the "
            f"standard error of that difference, {decimals(gap['error'])}"
        )
    if found["best"] is not None and not final:
        lines.append(
            "the last step is to train it on all training rows: "
            f"disttrain train {folder / 'best.toml'}{own}"
        )
    return [*lines, f"folds in {folder}"]
