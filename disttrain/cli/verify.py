"""`disttrain verify`: whether a checkpoint, a run folder or a data file is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import AsJson, print_json, say
from disttrain.cli.own import Layers, Own, own_layers

if TYPE_CHECKING:
    from disttrain.comm import Communicator

__all__ = ["command"]


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|RUN", help="A checkpoint, a data file, a run folder, an ensemble."
        ),
    ],
    first: Annotated[
        int | None,
        typer.Option("--from", metavar="STEP", min=0, help="Replay a run from this step on."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--to", metavar="STEP", min=0, help="Replay it up to this step.")
    ] = None,
    layers: Layers = None,
    as_json: AsJson = False,
) -> None:
    """Say what is whole, what is damaged, and what --resume would take; change nothing.

    With --from or --to the run is computed once more between these steps, on the ranks that are
    there, and compared with the digests that it wrote.
    """
    from disttrain.comm import connect

    comm = connect()
    if first is not None or last is not None:
        with comm.together("reading the arguments"):
            own = own_layers(layers)
        _replay(comm, file, (first or 0, last), own, as_json)
        return
    with comm.together("verifying", by_root=True):
        if comm.is_root:
            facts = _verdict(file)
            if as_json:
                print_json(facts)
            else:
                _print(facts)
            _refuse_damage(facts)


def _replay(
    comm: Communicator, run: Path, steps: tuple[int, int | None], own: Own, as_json: bool
) -> None:
    """Replay steps of a run; raise CheckpointError (code 3) where the results differ."""
    from disttrain.errors import CheckpointError
    from disttrain.preemption import ASKED
    from disttrain.runs import replay

    facts = replay(run, *steps, comm, ASKED, lambda line: say(line, as_json), own.layers, own.loss)
    with comm.together("replaying"):
        if comm.is_root and as_json:
            print_json(facts)
        if comm.is_root and not facts["whole"]:
            note = (
                ""
                if facts["mode"] == "exact"
                else (
                    " (fast mode repeats its bits only on as many ranks and BLAS threads as before)"
                )
            )
            raise CheckpointError(
                f"{run} is not what its run file gives: replayed from step {facts['from']}, "
                f"{facts['tensor']} is another one at step {facts['step']}" + note
            )
    if comm.is_root and not as_json:
        ranks = f"{facts['ranks']} rank{'s' * (facts['ranks'] > 1)}"
        say(f"as recorded at {len(facts['compared'])} intervals, on {ranks}")


def _verdict(file: Path) -> dict[str, Any]:
    from disttrain.checkpoint import is_checkpoint, verify
    from disttrain.data.verify import verify_data
    from disttrain.errors import CheckpointError
    from disttrain.runs.ensembled import is_ensemble, verify_ensemble
    from disttrain.runs.verification import verify_run

    if is_ensemble(file):
        return verify_ensemble(file)
    if file.is_dir():
        return verify_run(file)
    if file.exists() and not file.is_file():
        raise CheckpointError(
            f"{file} is not a file: give a checkpoint, a data file or a run folder"
        )
    if file.suffix == ".toml":
        raise CheckpointError(
            f"{file} is a run file, for `disttrain check`: give a checkpoint, a data file or a run "
            "folder"
        )
    return verify(file).facts() if is_checkpoint(file) else verify_data(str(file))


def _print(facts: dict[str, Any]) -> None:
    for one in facts.get("files", [facts]):
        known = [f"{key} {one[key]}" for key in ("step", "epoch", "digest") if key in one]
        if one["whole"] and not one.get("recorded", True):
            known = ["without a record: damage among its values would not be seen"]
        more = f" ({', '.join(known)})" if known else ""
        say(f"{one['path']}: {'whole' if one['whole'] else 'WRONG'}{more}")
        if "files" in facts and not one["whole"]:
            say(f"  {one['problem']}")
    for path in facts.get("left_over", []):
        say(f"{path}: left over, can be deleted")
    if "resume" in facts:
        say(_on_resuming(facts))


def _on_resuming(facts: dict[str, Any]) -> str:
    if facts["resume_refused"]:
        return f"--resume refuses: {facts['resume_refused']}"
    return f"--resume goes on from {facts['resume'] or 'the beginning'}"


def _refuse_damage(facts: dict[str, Any]) -> None:
    """Raise CheckpointError (code 3) where something is not whole."""
    from disttrain.errors import CheckpointError

    if facts["whole"]:
        return
    if "files" not in facts:
        raise CheckpointError(facts["problem"])
    bad = [Path(one["path"]).name for one in facts["files"] if not one["whole"]]
    cure = _on_resuming(facts) if "resume" in facts else "make the ensemble again"
    raise CheckpointError(f"{facts['path']} is not whole ({', '.join(bad)}): {cure}")
