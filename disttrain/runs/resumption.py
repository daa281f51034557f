"""Going on with a run: from where, and with which changes to its run file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from disttrain.checkpoint import Snapshot, newest_whole
from disttrain.config import Settings
from disttrain.errors import CheckpointError, RunFileError
from disttrain.runs.folder import RunFolder
from disttrain.training.exact.arithmetic import Arithmetic

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["adapt", "look_back", "refuse_other_loss"]

# What may change between a run and its resumption: none of it changes what a step computes.
FREE = ("name", "plot", "training.epochs", "validation.patience", "checkpoint", "device",
        "communication", "data.path", "data.memory", "reproducibility.audit",
        "validation.on")  # fmt: skip
# What decides which samples a step uses.
ORDER = {"seed", "data.block_rows", "training.batch_size", "training.protocol"}


def look_back(
    folder: RunFolder,
    settings: Settings,
    say: Callable[[str], None],
    accept: bool = False,
    warn: Callable[[str], None] | None = None,
) -> tuple[dict[str, Any] | None, Snapshot | None, Arithmetic | None]:
    """Return the summary of a run that is finished, or the checkpoint to go on from.

    With the latter, what an exact run must go on computing with. All are None where nothing was
    saved yet. A finished run goes on where the settings now ask for more epochs or more patience.
    Raises RunFileError for a change that would make other steps than those of the run, unless told
    to `accept` it.
    """
    snapshot, done = newest_whole(folder.checkpoints, warn or say), folder.finished()
    if snapshot is None:
        if done is None:
            say("no checkpoint to resume from: starting from the beginning")
            folder.clear()
        return done, None, None
    progress = snapshot.progress
    progress.reconsider(settings.validation.patience)
    if done is not None and (progress.stopped_early or snapshot.epoch >= settings.training.epochs):
        for key in changes(settings, snapshot):
            say(f"{key} is not what it was in this run, which is finished and stays as it is")
        return done, None, None
    if new := accepted(settings, snapshot, say, accept):
        progress.changes += new
        progress.changed_at = snapshot.step
    # From here on the folder holds a run that is not finished.
    folder.summary.unlink(missing_ok=True)
    return None, snapshot, None if accept else arithmetic_of(snapshot)


def accepted(
    settings: Settings, snapshot: Snapshot, say: Callable[[str], None], accept: bool
) -> list[str]:
    """Say what the run file changed; return what of that makes other steps, if told to `accept` it.

    Raises RunFileError where that is not so.
    """
    changed = changes(settings, snapshot)
    breaking = [k for k in changed if not any(k == f or k.startswith(f + ".") for f in FREE)]
    old, new = changed.get("schedule.rates", (None, None))
    if old and new and all(a == b for a, b in zip(old, new, strict=False)):
        # A longer run has more of them.
        breaking.remove("schedule.rates")
    if settings.schedule.kind == "cosine" and "training.epochs" in changed:
        # The cosine's every rate depends on the length of the run.
        breaking.append("training.epochs")
    if breaking and not accept:
        key = breaking[0]
        old, new = changed[key]
        raise RunFileError(
            f"{key} was {old!r} when this run began and is {new!r} now"
            + (f" (and {len(breaking) - 1} more)" if breaking[1:] else "")
            + ": resume with the old value, begin another run with another --output, or go on with "
            "--accept-changes, to another result"
        )
    for key, (old, new) in changed.items():
        say(f"resuming with {key} = {new!r} (was {old!r})")
    return [f"{k} from step {snapshot.step}: {changed[k][1]!r}, was {changed[k][0]!r}"
            for k in breaking]  # fmt: skip


def adapt(run: Run, snapshot: Snapshot) -> None:
    """Have the progress in `snapshot` fit the changes that were accepted (rank 0).

    Where samples come in another order from here on, the epoch under way counts as if it had begun
    in that order. Where exact mode computes other bits, that is one of the changes.
    """
    progress = snapshot.progress
    if ORDER & changes(run.settings, snapshot).keys():
        progress.used, progress.used_count = run.work.ledger.up_to(snapshot.step)
    old, new = snapshot.state.get("arithmetic"), run.arithmetic
    if old and new and old.get("probe") != new.probe:
        now, before = (
            f"{facts.get('kind')}, {facts.get('blas')}, probe {str(facts.get('probe'))[:12]}"
            for facts in (new.to_json(), old)
        )
        progress.changed_at = snapshot.step
        progress.changes.append(f"arithmetic from step {snapshot.step}: {now}, was {before}")


def refuse_other_loss(snapshot: Snapshot | None, kind: str) -> None:
    """Raise CheckpointError where a run would go on with another loss than it was trained with."""
    before = snapshot.state.get("loss", kind) if snapshot else kind
    if before != kind:
        raise CheckpointError(
            f"this run was trained with the loss {before!r}, now it is {kind!r}: resume by the "
            "script that began it"
        )


def arithmetic_of(snapshot: Snapshot) -> Arithmetic | None:
    """Return what an exact run has computed with so far; None for a run in fast mode."""
    facts = snapshot.state.get("arithmetic")
    try:
        return Arithmetic.from_json(facts) if facts else None
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"the checkpoint of step {snapshot.step} does not say what it was computed with: "
            "resume with --accept-changes"
        ) from None


def changes(settings: Settings, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Return the keys that are not what they were when `snapshot` was saved: old and new value."""
    old = flat(snapshot.settings(f"of step {snapshot.step}").model_dump())
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
