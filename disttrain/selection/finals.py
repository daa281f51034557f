"""What a cross-validation has found: its settings, to be trained on all training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from disttrain import config
from disttrain.config import Settings
from disttrain.errors import CheckpointError, UsageError
from disttrain.written import json_of, text_of, why

__all__ = ["best_of_folds", "final", "final_of"]


def final(settings: Settings, epochs: Sequence[float]) -> Settings:
    """Return settings that train on all training rows: none is set aside to stop by.

    With patience they train for as many epochs as the folds did on average.
    """
    changed = settings.replace(
        name=f"{settings.name[:190]}-final", data={"validation_fraction": 0.0}
    )
    if settings.validation.patience is None:
        return changed
    plain = changed.model_dump(exclude_none=True, exclude_unset=True)
    del plain["validation"]["patience"]
    mean = max(1, round(math.fsum(epochs) / len(epochs)))
    plain["training"] = plain.get("training", {}) | {"epochs": mean}
    return Settings.model_validate(plain)


def final_of(folder: Path, place: int) -> Path:
    """Return the run file that trains the settings at a `place` of `folds.json` on all rows."""
    return folder / "finals" / f"{place}.toml"


def best_of_folds(folder: Path, top: int) -> list[Settings]:
    """Return the `top` best settings of a cross-validation, the best first, for all training rows.

    Raises UsageError where fewer have a mean, CheckpointError where `folds.json` can't be used.
    """
    file = folder / "folds.json"
    try:
        found = json_of(text_of(file, 64 << 20))
        sign = 1 if found["metric"] == "loss" else -1
        means = [row["mean"] for row in found["settings"]]
        order = sorted((sign * mean, n) for n, mean in enumerate(means) if mean is not None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} can't be used ({why(error)})") from None
    if len(order) < top:
        raise UsageError(f"{folder} has {len(order)} settings with a mean: --top {top} is more")
    return [config.read(final_of(folder, place)) for _, place in order[:top]]
