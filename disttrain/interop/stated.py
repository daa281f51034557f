"""What a file of ours states of its run beside the weights, so that it is read back whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from disttrain.checkpoint import Snapshot
from disttrain.runs.trained import Trained

__all__ = ["DAMAGED", "OURS", "snapshot_of", "stated"]

OURS = "disttrain"
"""The key of a file's metadata under which it stands, as JSON."""

DAMAGED = (ValueError, KeyError, TypeError, AttributeError)
"""What reading it may raise where the file was changed."""


def stated(trained: Trained) -> dict[str, Any]:
    """Return the run file, the normalization and the facts about the data, as JSON values."""
    snapshot = trained.snapshot
    return {
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "run_file": snapshot.run_file,
        "normalization": {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in snapshot.normalization.items()
        },
        "state": {k: v for k, v in snapshot.state.items() if k not in ("tensors", "slots")},
    }


def snapshot_of(
    facts: dict[str, Any], parameters: dict[str, np.ndarray], data: str | None
) -> Snapshot:
    """Return the snapshot that `stated` was said of; `data` is the data file that it names then,
    None: that of its training. Raises one of DAMAGED."""
    known = facts["normalization"]
    for key in ("mean", "deviation"):
        known[key] = np.array(known[key], "f8")
    if data:
        facts["state"]["data"]["path"] = data
    return Snapshot(
        step=facts["step"], epoch=float(facts["epoch"]), run_file=facts["run_file"],
        parameters=parameters, slots={}, normalization=known, state=facts["state"],
    )  # fmt: skip
