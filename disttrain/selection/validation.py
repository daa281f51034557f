"""`disttrain cross-validate`: settings judged by networks that were trained on the other folds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import write_atomically
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset, fingerprint, open_dataset
from disttrain.data.file import DataFile
from disttrain.errors import Preempted, UsageError
from disttrain.preemption import ASKED
from disttrain.runs.held import refuse_another
from disttrain.selection.finals import final, final_of
from disttrain.selection.folds import difference, folds_of, mean_and_deviation, of_fold
from disttrain.selection.log import Log, other_data
from disttrain.selection.plan import Plan
from disttrain.selection.training import most_ranks, refuse_if_none_fits
from disttrain.selection.turns import Ended, Turns, all_failed
from disttrain.shown import decimals
from disttrain.training import fit, pretrain
from disttrain.training.build import build_run
from disttrain.training.fitted import with_updates
from disttrain.training.injection import Injection

__all__ = ["Plan", "cross_validate"]

Say = Callable[[str], None]


def cross_validate(
    plan: Plan, folder: Path, comm: Communicator, *, resume: bool = False, say: Say = print,
    injection: Injection | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score all settings on all folds; return what `folds.json` holds. Collective.

    `say` gets a line for each fold, on rank 0. With `resume` it goes on: what has ended is not
    trained again. Where the MPI goes on without a rank that died, so do the folds. Raises
    UsageError for folds that can't be made and for a folder that holds others, Preempted where the
    ranks were asked to stop, and, when all is done, DisttrainError where no settings have a score
    on all folds, Divergence if all have diverged.
    """

    def configured() -> list[Settings]:
        """Read what is asked for."""
        with comm.together("configuration"):
            return plan.settings()

    tried = comm.survive(configured)
    found = Validation(plan, tried, folder, comm, resume, say, injection)
    try:
        with comm.watch.armed(tried[0].communication.deadline_seconds):
            return comm.survive(found.to_the_end, found.turns.mend)
    except Preempted:
        raise Preempted(f"asked to stop: {folder} keeps what has ended, --resume goes on") from None
    finally:
        found.close()


class Validation:
    """A cross-validation under way. Its table is rank 0's: how each fold ended.

    Where the ranks go on without one that died, `to_the_end` is called again.
    """

    def __init__(
        self, plan: Plan, tried: Sequence[Settings], folder: Path, comm: Communicator, resume: bool,
        say: Say, injection: Injection | None,
    ) -> None:  # fmt: skip
        self._plan, self._tried, self._folder, self._comm = plan, tried, folder, comm
        self._resume, self._say, self._injection = resume, say, injection
        self.turns = Turns(comm, folder, lambda number: f"network {number + 1} of {plan.count}")
        self._table: Table | None = None
        self._data: Dataset | None = None

    def to_the_end(self) -> dict[str, Any]:
        """Train what is left to be trained, and return the table. Collective."""
        comm, plan = self._comm, self._plan
        data = self._data = self._opened()
        # By all training rows: a fold's network is trained as the final one is.
        tried = [with_updates(settings, data) for settings in self._tried]
        table = self._begun(data)
        ended = comm.share(set(table.ended) if table else None)
        left = [number for number in range(plan.count) if number not in ended]
        work = partial(_fold, plan, tried, data, self._injection)
        known = None if plan.layers or plan.loss else data
        of_left = [(tried[plan.parts(number)[0]], known) for number in left]
        most = most_ranks(of_left, comm, plan.ranks_each)
        tell = table.end_job if table else None
        self.turns.take(left, work, ranks_each=plan.ranks_each, most=most, tell=tell)
        with comm.together("writing the folds", by_root=True):
            if table:
                table.end(tried)
        shown, failed = comm.share((table.to_json("completed"), table.scoreless) if table else None)
        data.close(comm)
        if failed:
            raise all_failed("no settings have a score on all folds", "network", failed)
        told: dict[str, Any] = shown
        return told

    def close(self) -> None:
        """Let another process go on with the folds."""
        if self._table:
            self._table.log.close()

    def _opened(self) -> Dataset:
        """Return the training rows. Collective."""
        if all(self._comm.collect(self._data is not None)):
            assert self._data is not None
            return self._data
        first = self._tried[0]
        # Nothing is set aside: each row of the training is in a fold.
        whole = first.replace(data={"validation_fraction": 0.0})
        return open_dataset(
            whole.data, first.seed, self._comm, only="train", without=bool(first.pretraining)
        )

    def _begun(self, data: Dataset) -> Table | None:
        """Return the table on rank 0, else None. Collective."""
        with self._comm.together("opening the folds", by_root=True):
            check(self._plan, data)
            if self._comm.is_root and not self._table:
                own = self._plan.layers, self._plan.loss
                refuse_if_none_fits(self._tried, data, self._tried[0], *own)
                refuse_another(self._folder, "folds.jsonl")
                self._table = Table(self._plan, self._folder, bool(data.classes), self._say)
                self._table.begin(self._resume, data.file)
        # From here on it goes on with what it has begun.
        self._resume = True
        return self._table


def check(plan: Plan, data: Dataset) -> None:
    """Raise UsageError where there can't be so many folds."""
    rows = data.splits["train"].count
    if not 2 <= plan.folds <= rows:
        raise UsageError(
            f"--folds {plan.folds}: give 2 to {rows}, the training rows of {data.file.path}"
        )


def _fold(
    plan: Plan, tried: Sequence[Settings], data: Dataset, injection: Injection | None,
    group: Communicator, number: int,
) -> dict[str, Any]:  # fmt: skip
    """Train on the other folds and return the score of the fold. Collective over `group`."""
    place, repeat, fold = plan.parts(number)
    settings, seed = tried[place], tried[0].seed
    rows = folds_of(data.splits["train"].targets, plan.folds, seed, repeat)[fold]
    aside = settings.data.validation_fraction if settings.validation.patience else 0.0
    own = of_fold(data, rows, aside, seed)
    run = build_run(
        settings, group, dataset=own, preemption=ASKED, layers=plan.layers, loss=plan.loss,
        injection=injection,
    )  # fmt: skip
    run.restore(None)
    pretrain(run)
    fit(run)
    digest, epochs = run.digest(), run.epoch
    run.use_best()
    score = run.score(run.dataset.splits["test"], "scoring a fold")
    run.close()
    return {"loss": score.loss, "accuracy": score.accuracy, "rows": len(rows), "digest": digest,
            "epochs": epochs}  # fmt: skip


class Table:
    """The folds on rank 0: how each ended, and the files that say so."""

    def __init__(self, plan: Plan, folder: Path, classes: bool, say: Say) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._metric = "accuracy" if classes else "loss"
        self.ended: dict[int, dict[str, Any]] = {}
        self.log = Log(folder / "folds.jsonl")

    def begin(self, resume: bool, file: DataFile) -> None:
        """Begin, or go on with what the folder holds."""
        about, records = self._plan.about(), self.log.records
        data = fingerprint(file)
        begun = dict(records[0]) if records else {}
        known = begun.pop("data", data)
        if len(records) < 2:
            if resume:
                self._say(f"{self._folder} holds no folds yet: starting from the beginning")
            self.log.begin(about | {"data": data})
        elif not resume:
            raise UsageError(
                f"{self._folder} holds folds: go on by --resume, or choose another --output"
            )
        elif begun != json.loads(json.dumps(about)):
            raise UsageError(
                f"the run file, --set, --over, --folds or --repeats is not what it was when the "
                f"folds in {self._folder} began: give the same, or choose another --output"
            )
        elif known != data and len(records) <= self._plan.count:
            raise other_data(file.path, self._folder)
        self.ended = {record["number"]: record for record in records[1:]}

    def end_job(self, ended: Ended) -> None:
        """Note, and say, how a fold ended."""
        value = ended.value or {}
        place, repeat, fold = self._plan.parts(ended.number)
        record = {
            "number": ended.number, "repeat": repeat + 1, "fold": fold + 1,
            "score": value.get(self._metric), "seconds": round(ended.seconds, 3),
            "status": ended.status, "failure": ended.failure,
            **{name: value.get(name) for name in ("accuracy", "loss", "rows", "epochs", "digest")},
        }  # fmt: skip
        self.log.add(record)
        self.ended[ended.number] = record
        score = ended.failure or f"{self._metric} {decimals(value[self._metric])}"
        values = named(self._plan.values[place])
        said = f"{len(self.ended)}/{self._plan.count}  {values}fold {fold + 1}"
        again = f" of repeat {repeat + 1}" if self._plan.repeats > 1 else ""
        self._say(f"{said}{again}  {score}  {ended.seconds:.1f} s")

    def to_json(self, status: str) -> dict[str, Any]:
        """Return the table, as `folds.json` has it."""
        settings = [self._row(place) for place in range(len(self._plan.values))]
        order = sorted(
            (row["mean"] * (-1 if self._metric == "accuracy" else 1), place)
            for place, row in enumerate(settings) if row["mean"] is not None
        )  # fmt: skip
        best = order[0][1] if order else None
        found = settings[best] if best is not None else {"folds": [], "mean": None}
        return {
            "status": status, "run": self._plan.run, "metric": self._metric, "best": best,
            "folds": found["folds"], "mean": found["mean"], "deviation": found.get("deviation"),
            "difference": self._difference([place for _, place in order]), "settings": settings,
        }  # fmt: skip

    @property
    def scoreless(self) -> dict[int, tuple[str, str]]:
        """Status and failure of each network where no settings have a mean, else nothing."""
        if self.to_json("completed")["best"] is not None:
            return {}
        return {n + 1: (row["status"], row["failure"]) for n, row in self.ended.items()}

    def _row(self, place: int) -> dict[str, Any]:
        """Return what one of the settings came to; no mean where a fold has failed."""
        size = self._plan.repeats * self._plan.folds
        numbers = range(place * size, (place + 1) * size)
        folds = [self.ended[number] for number in numbers if number in self.ended]
        scores = [fold["score"] for fold in folds]
        whole = len(scores) == size and all(
            score is not None and math.isfinite(score) for score in scores
        )
        mean, deviation = mean_and_deviation(scores) if whole else (None, None)
        return {"settings": self._plan.values[place], "folds": folds, "mean": mean,
                "deviation": deviation}  # fmt: skip

    def _difference(self, order: Sequence[int]) -> dict[str, Any] | None:
        """Return the difference between the best two settings, and whether it is above its error.

        None where there are no two.
        """
        if len(order) < 2:
            return None
        one, two = ([fold["score"] for fold in self._row(n)["folds"]] for n in order[:2])
        mean, error = difference(one, two, self._plan.folds)
        return {"second": order[1], "difference": abs(mean), "error": error,
                "larger": bool(abs(mean) > error)}  # fmt: skip

    def end(self, tried: Sequence[Settings]) -> None:
        """Write `folds.json`, and the run files of all settings for all training rows."""
        found = self.to_json("completed")
        for place, row in enumerate(found["settings"]):
            if row["mean"] is None:
                continue
            settings = final(tried[place], [fold["epochs"] for fold in row["folds"]])
            text = config.to_toml(settings, stated=True).encode()
            write_atomically(final_of(self._folder, place), text)
            if place == found["best"]:
                write_atomically(self._folder / "best.toml", text)
        write_atomically(
            self._folder / "folds.json",
            json.dumps(found, indent=2, allow_nan=False).encode() + b"\n",
        )


def named(values: Mapping[str, Any]) -> str:
    """Return settings as the beginning of a line."""
    return "".join(f"{key} {value}  " for key, value in values.items())
