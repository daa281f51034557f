"""What a folder holds already, so that no command mixes its files with another's."""

from __future__ import annotations

import os
from pathlib import Path

from disttrain.errors import UsageError

__all__ = ["refuse_another"]

# By the file that is there from the beginning; of an ensemble, from its end.
KINDS = {
    "run.toml": "a run", "study.jsonl": "a study", "folds.jsonl": "folds",
    "ensemble.json": "an ensemble",
}  # fmt: skip


def refuse_another(folder: Path, own: str) -> None:
    """Raise UsageError where the folder holds what another command left.

    `own` is the file by which this command's own results are told.
    """
    for name, kind in KINDS.items():
        if name != own and os.path.lexists(folder / name):
            raise UsageError(f"{folder} holds {kind}: choose another --output")
