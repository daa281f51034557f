"""What a folder holds already, so that no command mixes its files with another's; how to go on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from disttrain.environment import launched, spares
from disttrain.errors import UsageError

__all__ = ["DATA", "TEMPORARY", "how_to_begin_anew", "how_to_go_on", "kind_in", "refuse_another"]

# By the file that is there from the beginning; of an ensemble, from its end.
KINDS = {
    "run.toml": "a run", "study.jsonl": "a study", "folds.jsonl": "folds",
    "ensemble.json": "an ensemble",
}  # fmt: skip


# What the name of a folder begins with that is removed with the script that trains in it.
TEMPORARY = ".disttrain-"


# Where searches and ensembles have the runs that they train.
PARTS = ("candidates", "members")

# The data files that Python writes of arrays: 16 digits of their content's digest.
DATA = "data-" + 16 * "[0-9a-f]" + ".h5"


def how_to_go_on(folder: Path) -> str:
    """Return the end of the sentence for a run that was asked to stop: how it is resumed."""
    if folder.name.startswith(TEMPORARY):
        return "its folder is temporary and goes: give `train` a run folder, to resume it later"
    command = f"disttrain {_as_launched()}train {shlex.quote(str(folder))} --resume"
    return f"the state is saved, `{command}` goes on"


def how_to_begin_anew(folder: Path) -> str:
    """Return the end of the sentence for a run that can't go on."""
    if folder.parent.name in PARTS:
        return "remove this folder, and --resume trains it anew"
    return "begin anew with --overwrite or another --output"


def _as_launched() -> str:
    """Return the words that start as many ranks and spares as this job has; "" for one rank."""
    job = launched()
    if not job or job.size < 2:
        return ""
    waiting = spares(job.size)
    return f"launch -n {job.size - waiting} " + f"--spares {waiting} " * bool(waiting)


def kind_in(folder: Path) -> str:
    """Return what a folder holds, as in "a study"; "" for nothing."""
    return next((kind for name, kind in KINDS.items() if os.path.lexists(folder / name)), "")


def refuse_another(folder: Path, own: str) -> None:
    """Raise UsageError where the folder holds what another command left.

    `own` is the file by which this command's own results are told.
    """
    for name, kind in KINDS.items():
        if name != own and os.path.lexists(folder / name):
            raise UsageError(f"{folder} holds {kind}: choose another --output")
