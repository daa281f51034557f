"""Before a resumed run goes on: comparing its data, noting accepted changes, checking `best.h5`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disttrain.checkpoint import Snapshot, load, path_of, put_aside, write_atomically
from disttrain.data import interchangeable
from disttrain.errors import DamagedCheckpoint, DataError
from disttrain.runs.changes import changes
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import Start
from disttrain.training.run import Run

__all__ = ["Best", "adapt", "best_of", "compare_data"]

# The settings on which the samples of a step depend.
ORDER = {"seed", "data.block_rows", "training.batch_size", "training.protocol"}


def adapt(run: Run, snapshot: Snapshot, accept: bool, warn: Callable[[str], None]) -> None:
    """Adapt the progress in `snapshot` to the changes that were accepted (rank 0).

    Where the order of samples changes, the ledger of the current epoch is set to the new order.
    Other data, and other bits in exact mode, are added to the changes. Raises DataError for other
    data that were not accepted.
    """
    progress, new = snapshot.progress, []
    other = compare_data(run, snapshot, warn)
    if other:
        if not accept or not other.fits:
            raise DataError(other.sentence)
        new.append(other.change)
    if other or ORDER & changes(run.settings, snapshot).keys():
        progress.used, progress.used_count = run.work.ledger.up_to(snapshot.step)
    old, now = snapshot.state.get("arithmetic"), run.arithmetic
    if old and now and old.get("probe") != now.probe:
        here, before = (
            f"{facts.get('kind')}, {facts.get('blas')}, probe {str(facts.get('probe'))[:12]}"
            for facts in (now.to_json(), old)
        )
        new.append(f"arithmetic from step {snapshot.step}: {here}, was {before}")
    if new:
        progress.changed_at = snapshot.step
        progress.changes += new


@dataclass(frozen=True)
class OtherData:
    """Data that are not those of the run: why, as an error and as a change; `fits`: the network."""

    sentence: str
    change: str
    fits: bool


def compare_data(run: Run, snapshot: Snapshot, warn: Callable[[str], None]) -> OtherData | None:
    """Return what differs in the data set from the one that `snapshot` was trained on, or None."""
    here = run.snapshot()
    had, have = snapshot.state["data"], here.state["data"]
    path, was, now = have["path"], had.get("fingerprint"), have["fingerprint"]
    what = ""
    for key in ("inputs", "classes", "input_dtype", "samples"):
        if had[key] != have[key]:
            what = what or f"{key} was {had[key]}, now it is {have[key]}"
    shapes = tuple(had.get("shape", [had["inputs"]])), tuple(have["shape"])
    if not interchangeable(*shapes):
        what = what or f"the shape of a sample was {shapes[0]}, now it is {shapes[1]}"
    fits = interchangeable(*shapes) and had["classes"] == have["classes"]
    if was is None and not what:
        for key in ("mean", "deviation"):
            old, new = snapshot.normalization[key], here.normalization[key]
            if not np.allclose(old, new, rtol=1e-9, atol=1e-12):
                what = f"the {key} of its training rows has changed"
    if was not in (None, now) and not what:
        what = "its content has changed"
    if not what:
        if was is None:
            warn(f"this run does not say which data it was trained on, so {path} was not compared")
        return None
    prints = f"{was or 'unknown'}, now {now}"
    return OtherData(
        f"{path} is not the data of this run: {what} (fingerprint {prints}); resume with the old "
        "file, begin another run with another --output"
        + (", or go on with --accept-changes, to another result" if fits else ""),
        f"data from step {snapshot.step}: {path}, {what} (fingerprint {prints})",
        fits,
    )


@dataclass(frozen=True)
class Best:
    """The best state so far, None where it is lost, and what must be done to `best.h5`.

    `problem` says why anything must be done: it is written anew from `source`, or put aside where
    there is none.
    """

    snapshot: Snapshot | None = None
    problem: str = ""
    source: Path | None = None

    def put_right(self, folder: RunFolder, warn: Callable[[str], None]) -> None:
        """Write this state to `best.h5`, or put that file aside where the state is lost."""
        if not self.problem:
            return
        if self.source:
            write_atomically(folder.best, self.source.read_bytes())
            warn(f"{self.problem}; it is written anew from {self.source}")
            return
        aside = f"; {put_aside(folder.best, 'other')}" if os.path.lexists(folder.best) else ""
        warn(
            f"{self.problem}{aside}; the best weights so far are lost, later ones are kept if they "
            "are better"
        )


def best_of(folder: RunFolder, start: Start) -> Best:
    """Return the best state up to where a run goes on; nothing is changed.

    A crash inside a save can leave a `best.h5` that is older than the checkpoint. Then it is not
    used: the best state is among the checkpoints. Raises CheckpointError where one of the two files
    may hold it and can't be read.
    """
    if start.snapshot is None or start.snapshot.progress.best_loss is None:
        return Best()
    step = start.snapshot.progress.best_step
    source = path_of(folder.checkpoints, step)
    held, problem = _of_step(folder.best, step)
    kept, _ = _of_step(source, step)
    if kept is None:
        return Best(held, problem)
    if held is None or held.digest != kept.digest:
        return Best(kept, problem or f"{folder.best} is another one", source)
    return Best(kept)


def _of_step(path: Path, step: int) -> tuple[Snapshot | None, str]:
    """Return the state of `step` that `path` holds, else None and why not."""
    if not os.path.lexists(path):
        return None, f"{path} does not exist"
    try:
        found = load(path)
    except DamagedCheckpoint as error:
        return None, str(error)
    if found.step != step:
        return None, f"{path} is of step {found.step}, but the best so far is step {step}"
    return found, ""
