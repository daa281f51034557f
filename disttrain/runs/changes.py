"""What differs between the settings of a saved state and those that a run is to go on with."""

from __future__ import annotations

from typing import Any

from disttrain.checkpoint import Snapshot
from disttrain.config import Settings

__all__ = ["FREE", "changes", "flat", "is_free"]

# What may change between a run and its resumption: none of it changes what a step computes.
FREE = ("name", "plot", "logging", "training.epochs", "validation.patience", "checkpoint", "device",
        "communication", "data.path", "data.memory", "reproducibility.audit",
        "validation.on", "training.skip_not_finite")  # fmt: skip


def is_free(key: str) -> bool:
    """Return True for a key that changes nothing of what a step computes."""
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def changes(settings: Settings, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Return the keys that are not what they were when `snapshot` was saved: old and new value."""
    old = flat(snapshot.settings(f"of step {snapshot.step}").model_dump())
    new = flat(settings.model_dump())
    keys = sorted(k for k in old | new if old.get(k) != new.get(k))
    return {key: (old.get(key), new.get(key)) for key in keys}


def flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested tables, and lists of tables, as one, with dotted keys."""
    if isinstance(table, list | tuple) and table and isinstance(table[0], dict):
        table = {str(number): item for number, item in enumerate(table)}
    if not isinstance(table, dict):
        return {prefix: table}
    return {
        key: value
        for name, part in table.items()
        for key, value in flat(part, f"{prefix}.{name}" if prefix else name).items()
    }
