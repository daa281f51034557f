"""Going on with a run: from where, and with which changes to its run file and its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disttrain.checkpoint import (
    Found,
    Snapshot,
    newest_whole,
    path_of,
    put_aside,
    write_atomically,
)
from disttrain.config import Settings
from disttrain.data import fingerprint, read_facts
from disttrain.errors import CheckpointError, DamagedCheckpoint, DataError, RunFileError
from disttrain.model import Layer
from disttrain.runs.changes import changes, is_free
from disttrain.runs.folder import RunFolder
from disttrain.runs.held import how_to_begin_anew
from disttrain.runs.layers import saved_layers
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.fitted import as_begun
from disttrain.training.integrity import chain

__all__ = [
    "Start",
    "arithmetic_of",
    "look_back",
    "refuse_other_loss",
    "refuse_own_layers",
]


@dataclass
class Start:
    """What a run goes on from; all of it is empty where it begins.

    `done` is the summary of a run that is finished, `arithmetic` what an exact run must go on
    computing with, `path` the file of the `snapshot`, `damaged` the newer ones that are damaged,
    `records` the digests up to the snapshot, `settings` those to go on with: with what the run file
    leaves to the data as it was. Nothing was changed to find it.
    """

    done: dict[str, Any] | None = None
    snapshot: Snapshot | None = None
    arithmetic: Arithmetic | None = None
    path: Path | None = None
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    records: list[dict[str, Any]] | None = None
    settings: Settings | None = None

    def refuse_another(self, source: Path, layers: Sequence[Layer] | None, loss: str) -> None:
        """Raise CheckpointError where the run was trained with other layers, or another loss."""
        if self.snapshot:
            if loss == "auto" and self.settings:
                loss = self.settings.model.loss
            refuse_own_layers(self.snapshot, source, layers)
            refuse_other_loss(self.snapshot, source, loss)

    def put_right(self, folder: RunFolder, warn: Callable[[str], None]) -> None:
        """Rename the files that are damaged; copy `best.h5` to the checkpoints if it is used."""
        for path, problem in self.damaged:
            warn(f"{problem}; {put_aside(path, 'damaged')}")
        if self.snapshot and self.path == folder.best:
            again = path_of(folder.checkpoints, self.snapshot.step)
            write_atomically(again, folder.best.read_bytes())
            warn(f"{folder.best} is whole: {again.name} is written anew from it")


def look_back(
    folder: RunFolder,
    settings: Settings,
    say: Callable[[str], None],
    accept: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Start:
    """Return what a run goes on from: a checkpoint, its end, or nothing where it never saved.

    A finished run goes on where the settings now ask for more epochs or more patience. Raises
    CheckpointError where something was saved and can't be used: the run does not begin anew then.
    Raises RunFileError for a change that would make other steps than those of the run, unless told
    to `accept` it.
    """
    warn = warn or say
    found, done = newest_whole(folder.checkpoints, folder.best), folder.finished(warn)
    snapshot = found.snapshot
    if snapshot is None:
        if done is not None and settings.training.epochs <= done["epochs"]:
            return Start(done)
        refuse_lost_work(folder, found, done)
        layer = saved_layers(folder.path) if settings.pretraining else 0
        say(
            f"going on with the pre-training of layer {layer}" if layer
            else "no checkpoint was saved yet to resume from: starting from the beginning"
        )  # fmt: skip
        return Start()
    records = records_up_to(folder, found, warn)
    settings = as_begun(settings, snapshot.settings(found.path))
    progress = snapshot.progress
    progress.reconsider(settings.validation.patience)
    if done is not None and (progress.stopped_early or snapshot.epoch >= settings.training.epochs):
        for key in changes(settings, snapshot):
            say(f"{key} is not what it was in this run, which is finished and stays as it is")
        _tell_other_data(settings, snapshot, warn)
        return Start(done)
    if new := accepted(settings, snapshot, say, accept):
        progress.changes += new
        progress.changed_at = snapshot.step
    arithmetic = None if accept else arithmetic_of(snapshot)
    return Start(None, snapshot, arithmetic, found.path, found.damaged, records, settings)


def _tell_other_data(settings: Settings, snapshot: Snapshot, warn: Callable[[str], None]) -> None:
    """Say where a finished run is resumed with other data than its own."""
    data, known = settings.data, snapshot.state["data"].get("fingerprint")
    with suppress(DataError):  # a finished run needs no data
        if known and fingerprint(read_facts(data.path, (data.inputs, data.targets))) != known:
            warn(
                f"{data.path} is not the data that this run was trained on, which is finished and "
                "stays as it is: train on these data with another --output"
            )


def refuse_lost_work(folder: RunFolder, found: Found, done: dict[str, Any] | None) -> None:
    """Raise CheckpointError where the run has saved states, of which none is there and whole."""
    cure = f"bring one back from a copy, or {how_to_begin_anew(folder.path)}"
    if found.damaged:
        more = len(found.damaged) - 1
        others = f" (and {more} more file{'s' * (more > 1)})" if more else ""
        raise CheckpointError(
            f"nothing in {folder.path} is whole to resume from: {found.damaged[0][1]}{others}; "
            f"{cure}"
        )
    saved = folder.saved_step() if folder.holds_a_run() else None
    if saved is None and done is not None:
        saved = done["steps"]
    if saved is not None:
        raise CheckpointError(
            f"{folder.path} has no checkpoint any more, but its run has saved step {saved}: {cure}"
        )
    if folder.may_have_saved():
        raise CheckpointError(
            f"{folder.path} has no checkpoint, and its .lock, which says whether one was saved, "
            f"is lost or empty: {cure}"
        )
    aside = [path.name for path in folder.checkpoints.glob("*.h5.damaged")]
    if aside:
        raise CheckpointError(
            f"{folder.path} has no checkpoint but what was put aside ({min(aside)}): {cure}"
        )


def records_up_to(
    folder: RunFolder, found: Found, warn: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the records of digests up to the checkpoint that was found.

    None are left where the file of them is lost or damaged, which is said; then a new chain begins.
    Raises CheckpointError where it may be whole and can't be read, and where it is whole and that
    checkpoint is not of its run.
    """
    assert found.snapshot is not None
    end = found.snapshot.progress.digests[-1:]
    if not end:
        return []
    try:
        records = chain.read(folder.digests)
    except DamagedCheckpoint as error:
        warn(f"{error}; its chain of digests begins anew at step {found.snapshot.step}")
        return []
    if end[0] not in records:
        raise CheckpointError(
            f"{found.path} is not of the run in {folder.path}: {folder.digests.name} has no record "
            f"of it; move away the one of the two that does not belong there, then --resume"
        )
    return records[: records.index(end[0]) + 1]


def accepted(
    settings: Settings, snapshot: Snapshot, say: Callable[[str], None], accept: bool
) -> list[str]:
    """Say what the run file changed; return what of that makes other steps, if told to `accept` it.

    Raises RunFileError where that is not so.
    """
    changed = changes(settings, snapshot)
    breaking = [key for key in changed if not is_free(key)]
    old, new = changed.get("schedule.rates", (None, None))
    if old and new and all(a == b for a, b in zip(old, new, strict=False)):
        # A longer run has more rates; the old ones are the same.
        breaking.remove("schedule.rates")
    if settings.schedule.kind == "cosine" and "training.epochs" in changed:
        # All rates of the cosine depend on the length of the run.
        breaking.append("training.epochs")
    if breaking and not accept:
        key = breaking[0]
        old, new = changed[key]
        raise RunFileError(
            f"{key} was {old!r} when this run began and is {new!r} now"
            + (", and all rates of a cosine depend on it" if key == "training.epochs" else "")
            + (f" (also changed: {', '.join(breaking[1:])})" if breaking[1:] else "")
            + ": resume with the old value, as `disttrain train RUN --resume` does with the run's "
            "folder; begin another run with another --output; or go on with --accept-changes, to "
            "another result"
        )
    for key, (old, new) in changed.items():
        say(f"resuming with {key} = {new!r} (was {old!r})")
    return [f"{k} from step {snapshot.step}: {changed[k][1]!r}, was {changed[k][0]!r}"
            for k in breaking]  # fmt: skip


def refuse_own_layers(snapshot: Snapshot, source: object, given: Sequence[Layer] | None) -> None:
    """Raise CheckpointError where a network has layers of a script, and none were given."""
    own = [kind for kind in snapshot.state.get("layers", []) if "." in kind]
    if own and given is None:
        raise CheckpointError(
            f"{source} was trained with layers of a script ({', '.join(dict.fromkeys(own))}): name "
            "the function that makes them by --layers MODULE:FUNCTION (evaluate, predict, ...), or "
            "give them in Python by layers=[...]; such layers can't be exported"
        )


def refuse_other_loss(snapshot: Snapshot, source: object, kind: str) -> None:
    """Raise CheckpointError where a network was trained with another loss than it would have."""
    before = snapshot.state.get("loss", kind)
    if before != kind and (kind != "auto" or before not in ("softmax", "squared")):
        raise CheckpointError(
            f"{source} was trained with the loss {before!r}, and not {kind!r}: name "
            "what returns (layers, loss) by --layers MODULE:FUNCTION, or give it in Python by "
            "loss=..."
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
