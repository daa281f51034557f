"""Going on with a run: from where, and with which changes to its run file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from disttrain import config
from disttrain.checkpoint import Snapshot, newest_whole
from disttrain.config import Settings
from disttrain.errors import RunFileError
from disttrain.training.folder import RunFolder
from disttrain.training.state import State

__all__ = ["look_back"]

# What may change between a run and its resumption: none of it changes what a step computes.
FREE = ("name", "plot", "training.epochs", "validation.patience", "checkpoint", "device",
        "communication", "data.path", "data.memory")  # fmt: skip


def look_back(
    folder: RunFolder, settings: Settings, say: Callable[[str], None]
) -> tuple[dict[str, Any] | None, Snapshot | None]:
    """Return the summary of a run that is finished, and the checkpoint to go on from.

    At most one of them is not None; neither is where nothing was saved yet. A finished run goes on
    where the settings now ask for more epochs or more patience. Raises RunFileError for a change
    that would make other steps than those of the run.
    """
    snapshot, done = newest_whole(folder.checkpoints, say), folder.finished()
    if snapshot is None:
        if done is None:
            say("no checkpoint to resume from: starting from the beginning")
            folder.clear()
        return done, None
    state = State.from_json(snapshot.state["progress"])
    state.reconsider(settings.validation.patience)
    if done is not None and (state.stopped_early or snapshot.epoch >= settings.training.epochs):
        for key in changes(settings, snapshot):
            say(f"{key} is not what it was in this run, which is finished and stays as it is")
        return done, None
    refuse_changes(settings, snapshot, say)
    # From here on the folder holds a run that is not finished.
    folder.summary.unlink(missing_ok=True)
    return None, snapshot


def refuse_changes(settings: Settings, snapshot: Snapshot, say: Callable[[str], None]) -> None:
    """Say what the run file changed; raise RunFileError for what would make other steps."""
    changed = changes(settings, snapshot)
    refused = [k for k in changed if not any(k == f or k.startswith(f + ".") for f in FREE)]
    if settings.schedule.kind == "cosine" and "training.epochs" in changed:
        # The cosine's every rate depends on the length of the run.
        refused.append("training.epochs")
    if refused:
        key = refused[0]
        old, new = changed[key]
        raise RunFileError(
            f"{key} was {old!r} when this run began and is {new!r} now"
            + (f" (and {len(refused) - 1} more)" if refused[1:] else "")
            + ": resume with the old value, or begin another run with another --output"
        )
    for key, (old, new) in changed.items():
        say(f"resuming with {key} = {new!r} (was {old!r})")


def changes(settings: Settings, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Return the keys that are not what they were when `snapshot` was saved: old and new value."""
    old = flat(config.parse(snapshot.run_file).model_dump())
    new = flat(settings.model_dump())
    keys = sorted(k for k in old | new if old.get(k) != new.get(k))
    return {key: (old.get(key), new.get(key)) for key in keys}


def flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dotted keys."""
    if not isinstance(table, dict):
        return {prefix: table}
    return {
        key: value
        for name, part in table.items()
        for key, value in flat(part, f"{prefix}.{name}" if prefix else name).items()
    }
