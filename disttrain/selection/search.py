"""`disttrain search`: candidates of a study, from coarse to fine, trained by groups of ranks."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from disttrain import config, journal
from disttrain.comm import Communicator
from disttrain.config import Settings, Stage, Study
from disttrain.data import Dataset
from disttrain.errors import Preempted, UsageError
from disttrain.runs.held import refuse_another
from disttrain.selection import tpe
from disttrain.selection.log import Log
from disttrain.selection.space import Axis, axes_of, count_of, grid, random, settings_of, zoomed
from disttrain.selection.suitability import (
    check,
    corners,
    doubts,
    few_to_judge_by,
    refuse_metric,
)
from disttrain.selection.table import Table, path_of
from disttrain.selection.training import Job, refuse_if_none_fits, train_in_groups
from disttrain.selection.turns import Turns, all_failed
from disttrain.training.build import open_training_data
from disttrain.training.injection import Injection

__all__ = ["search"]

Say = Callable[[str], None]
LOG = "study.jsonl"


def search(
    study: Study, folder: Path, comm: Communicator, *, resume: bool = False, say: Say = print,
    injection: Injection | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train the candidates of a study and return its table, as `study.json` has it. Collective.

    `say` gets a line for each candidate, on rank 0. With `resume` it goes on with the study in
    `folder`: what has ended is not trained again. Where the MPI goes on without a rank that died,
    so does the study. Raises RunFileError for a key or a value that no run can have, UsageError for
    a folder that holds a study, Preempted where the ranks were asked to stop, and, when all is
    done, DisttrainError where no candidate has a score, Divergence if all have diverged.
    """

    def configured() -> Settings:
        """Read what is asked for."""
        with comm.together("configuration"):
            base = config.read(study.run)
            check(study)
            return base

    base = comm.survive(configured)
    found = Search(study, base, folder, comm, resume, say, injection)
    try:
        with comm.watch.armed(base.communication.deadline_seconds):
            return comm.survive(found.to_the_end, found.turns.mend)
    finally:
        found.close()


def opened(folder: Path, study: Study, resume: bool, say: Say) -> Log:
    """Return the log of the study in `folder`, which begins there or goes on."""
    log = Log(folder / LOG)
    asked = study.model_dump(exclude={"run"}, mode="json")
    run = config.to_toml(config.read(study.run), stated=True)
    about = {"study": asked, "run": hashlib.sha256(run.encode()).hexdigest()}
    if not any("asked" in record for record in log.records):
        # Perhaps the data were not there.
        if resume:
            say(f"{folder} holds no study yet: starting from the beginning")
        log.begin(about)
        for line in doubts(study):
            journal.note("warning", logging.WARNING, text=line)
    elif not resume:
        raise UsageError(
            f"{folder} holds a study: go on with it by --resume, or choose another --output"
        )
    elif log.records[0] != json.loads(json.dumps(about)):
        which = "study" if log.records[0]["study"] != about["study"] else "run"
        raise UsageError(
            f"the {which} file is not what it was when the study in {folder} began: resume with "
            "the old one, or choose another --output"
        )
    return log


class Search:
    """A search under way. Its table is rank 0's: what was asked for, and how it ended.

    Where the ranks go on without one that died, `to_the_end` is called again: the table says what
    has ended, the lowest rank that is left reads it from the log if it has none.
    """

    def __init__(
        self, study: Study, base: Settings, folder: Path, comm: Communicator, resume: bool,
        say: Say, injection: Injection | None,
    ) -> None:  # fmt: skip
        self._study, self._base, self._folder, self._comm = study, base, folder, comm
        self._resume, self._say, self._injection = resume, say, injection
        self.turns = Turns(comm, folder, "candidate {}".format)
        self._table: Table | None = None
        self._dataset: Dataset | None = None

    def to_the_end(self) -> dict[str, Any]:
        """Train what is left to be trained, and return the table. Collective."""
        comm = self._comm
        with comm.together("opening the study", by_root=True):
            if comm.is_root:
                refuse_another(self._folder, LOG)
        # A study that is refused for its data leaves no folder.
        if not comm.share(os.path.lexists(self._folder / LOG) if comm.is_root else False):
            self._read()
        table = self._open()
        done: dict[str, Any] = comm.share(table.finished or {} if table else None)
        if done:
            self._refuse_nothing(table)
            return done
        dataset = self._read()
        with comm.together("opening the study", by_root=True):
            if table:
                table.keep_to(dataset.file)
        try:
            self._stages()
        except Preempted:
            if table:
                table.write("preempted")
            raise Preempted(
                f"asked to stop: {self._folder} keeps what has ended, --resume goes on"
            ) from None
        with comm.together("writing the study", by_root=True):
            if table:
                table.end()
        self._refuse_nothing(table)
        shown: dict[str, Any] = comm.share(table.to_json() if table else None)
        dataset.close(comm)
        return shown

    def _refuse_nothing(self, table: Table | None) -> None:
        """Raise, on all ranks, where no candidate has a score."""
        if failed := self._comm.share(table.scoreless if table else None):
            raise all_failed("no candidate of the study has a score", "candidate", failed)

    def _read(self) -> Dataset:
        """Return the data, read once, that can train and judge candidates. Collective."""
        comm, study, base = self._comm, self._study, self._base
        if all(comm.collect(self._dataset is not None)):
            assert self._dataset is not None
            return self._dataset
        self._dataset = open_training_data(base, comm)
        with comm.together("configuration", by_root=True):
            refuse_metric(study, self._dataset)
            if comm.is_root:
                ends = (settings_of(study.run, e) for _, e in corners(axes_of(study.space)))
                refuse_if_none_fits(ends, self._dataset, base)
                for line in few_to_judge_by(study, self._dataset):
                    journal.note("warning", logging.WARNING, text=line)
        return self._dataset

    def close(self) -> None:
        """Let another process go on with the study."""
        if self._table:
            self._table.close()

    def _open(self) -> Table | None:
        """Return the table on rank 0, else None."""
        with self._comm.together("opening the study", by_root=True):
            if self._comm.is_root and not self._table:
                log = opened(self._folder, self._study, self._resume, self._say)
                self._table = Table(self._folder, self._study, log, self._say)
        # From here on it goes on with what it has begun.
        self._resume = True
        return self._table

    def _stages(self) -> None:
        """Go through the stages. Collective."""
        axes = axes_of(self._study.space)
        stages, before = self._study.stages, 0
        for number, stage in enumerate(stages, 1):
            best = self._table.best(number - 1) if self._table else None
            if best and stage.zoom < 1:
                axes = zoomed(axes, best["settings"], stage.zoom)
            if self._table:
                # A grid may have fewer points in a part of the space.
                self._table.plan(before + sum(count_of(s, axes) for s in stages[number - 1 :]))
            before += count_of(stage, axes)
            self._stage(number, stage, axes)

    def _stage(self, number: int, stage: Stage, axes: Sequence[Axis]) -> None:
        total = self._comm.share(count_of(stage, axes))
        size = stage.generation if stage.kind == "tpe" else total
        for first in range(0, total, size):
            asked: list[dict[str, Any]] = []
            with self._comm.together("asking for candidates"):
                if self._table:
                    count = min(size, total - first)
                    asked = self._table.asked(number, first, count)
                    if len(asked) < count:
                        # A killed job may have noted a part of them.
                        new = self._suggest(number, stage, axes, first, count)
                        asked += self._table.ask(number, new[len(asked) :])
            self._generation(stage, self._comm.share(asked))

    def _suggest(
        self, number: int, stage: Stage, axes: Sequence[Axis], first: int, count: int
    ) -> list[dict[str, Any]]:
        """Return the settings of the candidates of a stage from `first` on (rank 0)."""
        assert self._table is not None
        seed = self._study.seed
        if stage.kind == "grid":
            return grid(axes)[first : first + count]
        if stage.kind == "random":
            return [random(axes, seed, number, place) for place in range(first, first + count)]
        told = self._table.told(number)
        return tpe.suggest(axes, told, count, (seed, number, first), self._study.rises)

    def _generation(self, stage: Stage, asked: Sequence[dict[str, Any]]) -> None:
        """Train the candidates of a generation from rung to rung; some end at each. Collective."""
        comm, table = self._comm, self._table
        rungs = stage.rungs(stage.epochs or self._base.training.epochs)
        for rung in rungs:
            left: list[tuple[int, Settings]] = []
            with comm.together("choosing candidates"):
                if table:
                    left = table.left(asked, rung)
            jobs = [
                Job(number, settings, self._folder / path_of(number),
                    rung if rung != rungs[-1] else None)
                for number, settings in comm.share(left)
            ]  # fmt: skip
            tell = partial(table.end_job, rung=rung) if table else None
            train_in_groups(
                comm, jobs, self._folder, ranks_each=self._study.ranks_each,
                dataset=self._dataset, data_of=self._base, tell=tell, turns=self.turns,
                key=(asked[0]["number"], rung), injection=self._injection,
            )  # fmt: skip
            with comm.together("choosing candidates"):
                if table and rung != rungs[-1]:
                    table.prune(asked, rung, stage)
