"""Several runs trained at once, each in its own folder by a group of ranks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset
from disttrain.errors import Preempted, UsageError
from disttrain.model import Layer, Loss
from disttrain.preemption import ASKED, Preemption
from disttrain.runs import train
from disttrain.selection.turns import Ended, Turns
from disttrain.training import Callback
from disttrain.training.build import is_exact, refuse_unfit
from disttrain.training.injection import Injection
from disttrain.written import PAUSED, intervals_of, summary_of

__all__ = ["Job", "most_ranks", "refuse_if_none_fits", "train_in_groups"]


@dataclass(frozen=True)
class Job:
    """A run to be trained: its number, its settings, its run folder; `until`: pause there."""

    number: int
    settings: Settings
    folder: Path
    until: int | None = None


def train_in_groups(
    comm: Communicator, jobs: Sequence[Job], folder: Path, *, ranks_each: int = 1,
    dataset: Dataset | None = None, data_of: Settings | None = None,
    tell: Callable[[Ended], None] | None = None,
    layers: Sequence[Layer] | None = None, loss: Loss | None = None,
    turns: Turns | None = None, key: Hashable = (), injection: Injection | None = None,
) -> list[Ended]:  # fmt: skip
    """Train each job's settings in its run folder; return how each ended, in order of number.

    Collective over `comm`; the list is the same on all ranks. The ranks are divided into groups of
    `ranks_each`, or more (`most_ranks`); a group that is done takes the next job. `Ended.value` is
    the run's summary, as `train` returns it; a run that diverged or failed has none but `failure`
    and `exit_code`.

    All can be called again after the job was killed, with the same arguments: a run that is
    finished is not trained again, one that was begun goes on from its newest checkpoint. So the
    folders must be these runs' own. `folder` is for files that groups share while they work.

    `dataset` (`open_training_data`) is read once for all; it is used by the runs whose data and
    seed are those of the settings `data_of` (by default the first job's), stays open, and is the
    caller's to close. `layers` and `loss` are those of a user's own, if any. `tell` is called on
    rank 0 when a job has ended, in the order of ending. Inside a `comm.survive` all is called again
    where a rank died, with the same `turns` and `key`.

    Raises what `Turns.take` raises: Preempted where the ranks were asked to stop.
    """
    by_number = {job.number: job for job in jobs}
    turns = turns or Turns(comm, folder)
    listener = Listener(turns)

    own = data_of or jobs[0].settings if jobs else None
    lent = {job.number: _lent(dataset, job.settings, own) for job in jobs}

    def _one(group: Communicator, number: int) -> dict[str, Any]:
        given = {"dataset": lent[number], "layers": layers, "loss": loss, "injection": injection}
        return _train(group, by_number[number], given, [listener] if comm.is_root else [])

    # What "auto" becomes with a user's own layers or loss is known when a run is built.
    tried = [(job.settings, None if layers or loss else lent[job.number]) for job in jobs]
    most = most_ranks(tried, comm, ranks_each)
    return turns.take(list(by_number), _one, ranks_each=ranks_each, most=most, key=key, tell=tell)


def refuse_if_none_fits(
    tried: Iterable[Settings], dataset: Dataset, data_of: Settings,
    layers: Sequence[Layer] | None = None, loss: Loss | None = None,
) -> None:  # fmt: skip
    """Raise UsageError where no network of all that are tried fits the data: for the first one.

    On this rank alone. Settings with data of their own are not looked at: they may fit.
    """
    first = None
    for settings in tried:
        if settings.data != data_of.data:
            return
        try:
            refuse_unfit(settings, dataset, layers, loss)
        except UsageError as error:
            first = first or error
        else:
            return
    if first:
        raise first


def most_ranks(
    tried: Sequence[tuple[Settings, Dataset | None]], comm: Communicator, ranks_each: int
) -> int:
    """Return how many ranks a group may have without a change of any bit. Collective.

    That is where all of `tried`, settings and their data, are exact, as far as there are leaves.
    0 where groups must be as they were asked for, or where no rank would be left over.
    """
    filled = comm.size % ranks_each == 0 and comm.size <= len(tried) * ranks_each
    if filled or not tried:
        return 0
    different = {_shape_of(*each): each for each in tried}.values() if comm.is_root else ()
    with comm.together("dividing the ranks into groups"):
        exact = comm.is_root and all(is_exact(settings, dataset) for settings, dataset in different)
    leaves = min(settings.reproducibility.leaves for settings, _ in tried)
    return comm.share(leaves if exact else 0)


def _shape_of(settings: Settings, dataset: Dataset | None) -> tuple[str, int | None]:
    """Return what is the same for runs of which either all are exact or none: not name and seed."""
    rows = dataset.splits["train"].count if dataset is not None else None
    return settings.model_dump_json(exclude={"name", "seed"}), rows


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

    def on_start(self, run: Any) -> None:
        """Ask at once where the run stands there: it was killed before its summary was written."""
        self.on_step(run, run.state.step - 1)

    def on_step(self, run: Any, step: int) -> None:
        """Ask for the stop before the last step of the epoch."""
        if self._epoch is not None and run.total_steps != self._epoch * run.steps_per_epoch:
            self.reached = step + 1 >= self._epoch * run.steps_per_epoch


def _lent(dataset: Dataset | None, settings: Settings, own: Settings | None) -> Dataset | None:
    """Return the data for a run of the settings, where they are those of its `own`."""
    if dataset is None or own is None or settings.data != own.data:
        return None
    same_rows = settings.seed == own.seed or settings.data.split_seed is not None
    return dataset.lend() if same_rows else None


def _train(
    group: Communicator, job: Job, given: dict[str, Any], callbacks: Sequence[Callback]
) -> dict[str, Any]:
    """Train one job, or go on with it, up to its end or its pause; return its summary."""
    pause = Pause(job.until)
    seen = [*callbacks, pause]
    if summary := _paused(group, job):
        return summary
    try:
        return train(
            job.settings, job.folder, group, resume=True, preemption=pause,
            callbacks=seen if group.is_root else [], standby=lambda: seen, **given,
        )  # fmt: skip
    except Preempted:
        if any(group.collect(ASKED.signal is not None)):
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
    # Perhaps nothing was validated until here.
    scores = {name: r[f"validation_{name}"] for r in best for name in ("loss", "accuracy")}
    return summary | {"status": PAUSED, "validation": scores or None}
