"""One run in its folder, from the lock on the folder to the summary that says how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from disttrain import journal
from disttrain.advice.activity import equal_units, why_equal
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset
from disttrain.errors import raised_everywhere
from disttrain.model import Layer, Loss
from disttrain.preemption import Preemption
from disttrain.runs.adaptation import Best, adapt, best_of
from disttrain.runs.chronicle import Chronicle, chronicled, note_ready, teller
from disttrain.runs.ending import finish, mark
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import Start, look_back
from disttrain.training.build import build_run
from disttrain.training.callbacks import Callback
from disttrain.training.injection import Injection
from disttrain.training.limits import within_limits
from disttrain.training.measures import Metric, Metrics
from disttrain.training.pretraining import pretrain
from disttrain.training.recovery import go_on_with_others, stand_down
from disttrain.training.run import Run
from disttrain.training.stage import Done
from disttrain.training.trainer import fit

__all__ = ["train"]


def train(
    settings: Settings,
    output: Path,
    comm: Communicator,
    *,
    resume: bool = False,
    overwrite: bool = False,
    accept_changes: bool = False,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    metrics: Metrics | Sequence[Metric] = (),
    preemption: Preemption | None = None,
    injection: Injection | None = None,
    dataset: Dataset | None = None,
    standby: Callable[[], Sequence[Callback]] | None = None,
) -> dict[str, Any]:
    """Train `settings` in the run folder `output` and return its summary. Collective.

    With `resume` it goes on from the newest whole checkpoint there, with `accept_changes` also to
    another result. `dataset` are the data of the settings where they are open already. Raises what
    `fit` raises, after the summary says so and the state is saved.

    Rank 0 alone has `callbacks`. One that becomes rank 0 because others died gets those that
    `standby` makes, or its own `callbacks`.
    """
    build = partial(build_run, layers=layers, loss=loss, preemption=preemption, metrics=metrics,
                    injection=injection, dataset=dataset)  # fmt: skip
    other = layers, loss.kind if loss else None
    session = Session(settings, output, comm, (resume, overwrite, accept_changes), build, other)
    session.standby = standby or (lambda: callbacks)
    session.promote(callbacks)
    try:
        done = comm.survive(session.open, session.reopen)
        if done:
            session.say(f"the run in {output} is finished ({done['status']}): nothing to do")
            return done
        with chronicled(session.folder, comm, session.chronicle.early):
            run, summary = session.survived(comm)
            run.close()
            return summary
    finally:
        session.folder.release()
        for callback in session.callbacks:
            callback.on_stop()


class Session:
    """A training under way on this rank: what `train` was given, and how far it has come.

    Its methods are collective. Where the ranks go on without one that died, `open` and `to_the_end`
    are called again, after `reopen` or `mend`.
    """

    def __init__(
        self, settings: Settings, output: Path, comm: Communicator, how: tuple[bool, bool, bool],
        build: Callable[..., Run], own: tuple[Sequence[Layer] | None, str | None],
    ) -> None:  # fmt: skip
        self.settings, self.comm, self._build, self._own = settings, comm, build, own
        self._resume, self._overwrite, self._accept = how
        self.folder, self._start, self._begun = RunFolder(output), Start(), time.time()
        self.chronicle, self.callbacks = Chronicle(), list[Callback]()
        self.standby: Callable[[], Sequence[Callback]] = list
        self.say, self._warn = teller(self.callbacks), teller(self.callbacks, grave=True)
        # What is built, and the same where the ranks that are left go on with it.
        self._built: Run | None = None
        self._run: Run | None = None
        self._summary: dict[str, Any] | None = None
        self._lost = list[str]()
        self._writes = self._told = False

    def promote(self, callbacks: Sequence[Callback] | None = None) -> None:
        """Give rank 0 its callbacks, where it has none yet."""
        if self.comm.is_root and not self.callbacks:
            own = self.standby() if callbacks is None else callbacks
            self.callbacks += [self.chronicle, *own]

    def open(self) -> dict[str, Any] | None:
        """Lock the folder, look back for a checkpoint; return the summary of a finished run."""
        comm, folder = self.comm, self.folder
        with comm.together("opening the run folder", by_root=True):
            if comm.is_root and not folder.is_locked:
                folder.claim(self._resume, self._overwrite)
                self._look_back()
            folder.refuse_lost()
        start = self._start
        self.settings = start.settings or self.settings
        done, recorded, self.settings = comm.share((start.done, start.arithmetic, self.settings))
        self._build = partial(self._build, recorded=recorded)
        return done

    def reopen(self, lost: list[str]) -> None:
        """Go on with `open` on the ranks that are left."""
        self._lost += lost
        self.promote()
        self._tell_of(lost)

    def _look_back(self) -> None:
        layers, loss = self._own
        if self._resume:
            self._start = look_back(self.folder, self.settings, self.say, self._accept, self._warn)
            loss = loss or self.settings.model.loss
            self._start.refuse_another(self.folder.path, layers, loss)

    def to_the_end(self) -> tuple[Run, dict[str, Any]]:
        """Build, restore, fit, score; return the run and its summary, which is written."""
        run = self._built = self._run
        self._summary = None
        with within_limits(self.settings, self.comm):
            if run is None:
                run = self._built = self._build(self.settings, self.comm, callbacks=self.callbacks)
                _begin(run, self.folder, self._start, self._accept, self._warn)
                self._writes = True
                if self.comm.spares:
                    # What a spare has built; the others have none as long as they pre-train.
                    self._run = run if self.comm.rank >= self.comm.workers else None
                    stand_down(run)
                pretrain(run, self.folder)
                # From here on it goes on where it is.
                self._run = run
                self._note_lost(run)
            if run.stage.done < Done.SCORING:
                fit(run, self.folder)
                run.stage.digest, run.stage.done = run.digest(), Done.SCORING
            self._summary = finish(run, self.folder, self._begun)
            self._tell_the_end(run, self._summary)
            return run, self._summary

    def survived(self, comm: Communicator) -> tuple[Run, dict[str, Any]]:
        """Go to the end, also where ranks die on the way; an error that ends it is written down."""
        try:
            return comm.survive(self.to_the_end, self.mend)
        except BaseException as error:
            # Where a rank was lost, those that are left do it again, in the section around this.
            if not comm.is_loss(error):
                self.end_by(error)
            raise

    def end_by(self, error: BaseException) -> None:
        """Write down by which error the run ended, where its summary is not written; close it."""
        run = self._built
        with within_limits(self.settings, self.comm):
            if self.comm.is_root and self._summary is None:
                mark(run, self.comm, self.folder, self._begun, error)
            if run and raised_everywhere(error):
                run.close()

    def mend(self, lost: list[str]) -> None:
        """Go on with the run on the ranks that are left, or build it again where it had not begun.

        The lowest of them becomes rank 0, and takes over the folder and what people are told.
        """
        comm, begin = self.comm, time.perf_counter()
        self._lost += lost
        self.promote()
        if not all(comm.collect(self._run is not None)):
            self._run = None
        with comm.together("opening the run folder", by_root=True):
            if comm.is_root and not self.folder.is_locked:
                self.folder.take_over(self._overwrite and not self._writes)
                if self._run is None:
                    self._look_back()
        if self._run is not None:
            run = self._run
            go_on_with_others(run)
            run.callbacks = self.callbacks if comm.is_root else ()
            self._note_lost(run)
            with comm.together("opening the run folder", by_root=True):
                if comm.is_root:
                    self.folder.go_on(run)
        self._tell_of(lost, time.perf_counter() - begin)

    def _note_lost(self, run: Run) -> None:
        """Let the state say which ranks died, also before the first step."""
        run.state.faults += [line for line in self._lost if line not in run.state.faults]

    def _tell_of(self, lost: list[str], seconds: float = 0.0) -> None:
        step = self._run.state.step if self._run else 0
        begins = self._writes and self._run is None
        where = "with the pre-training" if begins else f"after step {step}"
        left = self.comm.workers
        ranks = "1 rank goes" if left == 1 else f"{left} ranks go"
        journal.note("recovered", lost=lost, ranks=left, step=step, seconds=seconds)
        if self.comm.is_root:
            for line in lost:
                self._warn(f"{line}; {ranks} on {where}")

    def _tell_the_end(self, run: Run, summary: dict[str, Any]) -> None:
        with self.comm.together("callback"), self.comm.alone_in("a callback"):
            for callback in () if self._told else run.callbacks:
                callback.on_end(run, summary)
            self._told = True


def _begin(
    run: Run, folder: RunFolder, start: Start, accept: bool, warn: Callable[[str], None]
) -> None:
    """Restore the state, begin to write in the folder, call `on_start`. Collective.

    Nothing in the folder is changed before all checks that may refuse the run.
    """
    best, snapshot = Best(), start.snapshot
    with run.comm.together("restoring", by_root=True):
        if snapshot:
            adapt(run, snapshot, accept, warn)
            best = best_of(folder, start)
    run.restore(snapshot, best.snapshot)
    if run.settings.validation.patience and "validation" not in run.dataset.splits:
        warn(
            f"warning: validation.patience = {run.settings.validation.patience} has nothing to "
            f"judge by, as {run.settings.data.path} has no validation rows: give "
            "data.validation_fraction, or a file with some"
        )
    if snapshot is None and (names := equal_units(run.network)):
        warn(f"warning: {why_equal(names)}")
    with run.comm.together("opening the run folder", by_root=True):
        if run.comm.is_root:
            folder.refuse_unusable()
            start.put_right(folder, warn)
            best.put_right(folder, warn)
            folder.begin(run, start.records)
    with run.comm.together("callback"), run.comm.alone_in("a callback"):
        for callback in run.callbacks:
            callback.on_start(run)
    # Asked already, where a saved run goes on: rank 0 alone, as the others tell at a step.
    run.stage.asked = run.comm.share(snapshot is not None and run.preemption.signal is not None)
    note_ready(run)
