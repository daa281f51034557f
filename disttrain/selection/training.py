"""Several runs trained at once, each in its own folder by a group of ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset
from disttrain.errors import Preempted
from disttrain.model import Layer, Loss
from disttrain.preemption import ASKED, Preemption
from disttrain.runs import train
from disttrain.selection.turns import Ended, Turns
from disttrain.training import Callback
from disttrain.written import intervals_of, summary_of

__all__ = ["PAUSED", "Job", "train_in_groups"]

# The status of a run that stands at the epoch `until`, to go on later.
PAUSED = "paused"


@dataclass(frozen=True)
class Job:
    """A run to be trained: its number, its settings, its run folder; `until`: pause there."""

    number: int
    settings: Settings
    folder: Path
    until: int | None = None


def train_in_groups(
    comm: Communicator,
    jobs: Sequence[Job],
    folder: Path,
    *,
    ranks_each: int = 1,
    dataset: Dataset | None = None,
    data_of: Settings | None = None,
    tell: Callable[[Ended], None] | None = None,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
) -> list[Ended]:
    """Train each job's settings in its run folder; return how each ended, in order of number.

    Collective over `comm`; the list is the same on all ranks. The ranks are divided into groups of
    `ranks_each`; a group that is done takes the next job. `Ended.value` is the run's summary, as
    `train` returns it; a run that diverged or failed has none but `failure` and `exit_code`.

    All can be called again after the job was killed, with the same arguments: a run that is
    finished is not trained again, one that was begun goes on from its newest checkpoint. So the
    folders must be these runs' own. `folder` is for files that groups share while they work.

    `dataset` (`open_training_data`) is read once for all; it is used by the runs whose data and
    seed are those of the settings `data_of` (by default the first job's), stays open, and is the
    caller's to close. `layers` and `loss` are those of a user's own, if any. `tell` is called on
    rank 0 when a job has ended, in the order of ending.

    Raises what `Turns.take` raises: Preempted where the ranks were asked to stop.
    """
    by_number = {job.number: job for job in jobs}
    turns = Turns(comm, folder, tell)
    listener = Listener(turns)

    def _one(group: Communicator, number: int) -> dict[str, Any]:
        job = by_number[number]
        same = _same_data(job.settings, data_of or jobs[0].settings)
        lent = dataset if dataset and same else None
        callbacks = [listener] if comm.is_root else []
        given = {"dataset": lent.lend() if lent else None, "layers": layers, "loss": loss}
        return _train(group, job, given, callbacks)

    exact = all(job.settings.reproducibility.mode == "exact" for job in jobs)
    return turns.take(list(by_number), _one, ranks_each=ranks_each, widen=exact)


class Listener(Callback):
    """Looks, at each interval of rank 0's run, whether other groups have ended theirs."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_interval(self, run: Any, report: Any) -> None:
        """Tell what other groups have ended."""
        self._turns.listen()


class Pause(Preemption, Callback):
    """Asks a run to stop at the end of an epoch, or where this process was asked to."""

    def __init__(self, epoch: int | None) -> None:
        self._epoch, self.reached = epoch, False

    @property
    def signal(self) -> str | None:  # type: ignore[override]
        """The name of what asked the run to stop."""
        return ASKED.signal or (PAUSED if self.reached else None)

    def on_step(self, run: Any, step: int) -> None:
        """Ask for the stop before the last step of the epoch."""
        if self._epoch is not None and run.total_steps != self._epoch * run.steps_per_epoch:
            self.reached = step + 1 >= self._epoch * run.steps_per_epoch


def _same_data(one: Settings, other: Settings) -> bool:
    rows = one.seed == other.seed or one.data.split_seed is not None
    return one.data == other.data and rows


def _train(
    group: Communicator, job: Job, given: dict[str, Any], callbacks: Sequence[Callback]
) -> dict[str, Any]:
    """Train one job, or go on with it, up to its end or its pause; return its summary."""
    pause = Pause(job.until)
    if summary := _paused(group, job):
        return summary
    try:
        return train(
            job.settings, job.folder, group, resume=True, preemption=pause,
            callbacks=[*callbacks, pause] if group.is_root else [], **given,
        )  # fmt: skip
    except Preempted:
        if not group.share(pause.reached and ASKED.signal is None):
            raise
    summary = _paused(group, job)
    assert summary is not None, "a run that paused has a summary"
    return summary


def _paused(group: Communicator, job: Job) -> dict[str, Any] | None:
    """Return the summary of a run that stands at its pause, with its best scores so far."""
    return group.share([_summary_at_pause(job) if group.is_root else None])[0]


def _summary_at_pause(job: Job) -> dict[str, Any] | None:
    try:
        summary = summary_of(job.folder / "summary.json")
        if job.until is None or summary["status"] != "preempted":
            return None
        if summary["epochs"] != job.until:
            return None
        history = list(intervals_of(job.folder / "metrics.jsonl"))
    except (OSError, ValueError):
        return None
    best = [report for report in history if report["step"] == summary["best_step"]] or history[-1:]
    scores = {name: best[0][f"validation_{name}"] for name in ("loss", "accuracy")}
    return summary | {"status": PAUSED, "validation": scores}
