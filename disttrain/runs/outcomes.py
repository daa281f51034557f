"""What runs came to, and which of two is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disttrain.errors import CheckpointError
from disttrain.runs.folder import RunFolder
from disttrain.written import intervals_of, summary_of, why

__all__ = ["better", "outcome_of"]

# Closer numbers may differ by rounding alone.
ROUNDING = 1e-4
# What decides, the first that both runs have: the split, its number, 1 where less is better.
MEASURES = (("validation", "loss", 1), ("test", "loss", 1), ("validation", "accuracy", -1))


def outcome_of(path: Path) -> dict[str, Any]:
    """Return how the run in a folder ended, from its summary, as JSON values.

    Of a run that goes on, or was killed, there are only the numbers of its last interval. Raises
    CheckpointError for a file that can't be read.
    """
    folder = RunFolder(path)
    try:
        summary = summary_of(folder.summary) if folder.summary.exists() else {}
        last = list(intervals_of(folder.metrics))[-1:] if folder.metrics.exists() else []
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its summary or metrics can't be used: {why(error)}"
        ) from None
    report = last[0] if last else {}
    now = {name: report.get(f"validation_{name}") for name in ("loss", "accuracy")}
    return {
        "path": str(path),
        "status": summary.get("status", "unfinished"),
        "ranks": summary.get("ranks"),
        "epochs": summary.get("epochs", report.get("epoch")),
        "steps": summary.get("steps", report.get("step")),
        "best_step": summary.get("best_step"),
        "train_loss": report.get("train_loss"),
        "validation": summary.get("validation") or (now if now["loss"] is not None else None),
        "test": summary.get("test"),
        "samples_per_second": summary.get("samples_per_second", report.get("samples_per_second")),
    }


def better(outcomes: Sequence[dict[str, Any]], same_loss: bool) -> dict[str, Any] | None:
    """Return which of two runs is better, and by what; None where they have no measure in common.

    `run` is 0, 1, or None where they are as good up to rounding; `by` is a split and its number, as
    in ["validation", "loss"], `values` those of both. Losses of different kinds are not compared.
    """
    for split, name, less in MEASURES:
        values: list[Any] = [(outcome[split] or {}).get(name) for outcome in outcomes]
        if None in values or (name == "loss" and not same_loss):
            continue
        first, second = (less * value for value in values)
        alike = math.isclose(first, second, rel_tol=ROUNDING)
        run = None if alike else int(second < first)
        return {"run": run, "by": [split, name], "values": values}
    return None
