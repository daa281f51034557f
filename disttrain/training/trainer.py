"""Training: the main path. `fit` goes from interval to interval, `train_step` does one update."""

from __future__ import annotations

import math
import time

import numpy as np

from disttrain import journal
from disttrain.checkpoint.state import Report
from disttrain.errors import Divergence, Preempted, UsageError
from disttrain.model import Perceptron
from disttrain.training.evaluation import correct
from disttrain.training.finite import diverged, leave_out, refuse_overflow
from disttrain.training.integrity.chain import record
from disttrain.training.keeper import Keeper, KeepNothing
from disttrain.training.limits import within_limits
from disttrain.training.measures import falls
from disttrain.training.reducers import Totals
from disttrain.training.run import Run
from disttrain.training.stage import Done
from disttrain.training.together import compute_together
from disttrain.training.weighing import weighed

__all__ = ["fit", "train_step"]


def fit(run: Run, keeper: Keeper | None = None) -> None:
    """Train from where `run.state` stands to the end, to an early stop, or to a request to stop.

    Collective. Saves by `keeper` where one is given. Raises, on all ranks alike, `Divergence`,
    `Preempted` (after saving), or `RankFailure`.
    """
    keeper = keeper or KeepNothing()
    if run.settings.pretraining and not (run.state.step or run.state.pretraining):
        raise UsageError("the settings ask for pre-training: call pretrain(run) before fit(run)")
    with within_limits(run.settings, run.comm, run.threads):
        begin(run, keeper)
        while not (run.is_over and run.stage.done >= Done.SAVED):
            if run.stage.asked and run.stage.done == Done.SAVED:
                done = f"step {run.state.step} of {run.total_steps}{run.of_layer}"
                raise Preempted(f"asked to stop after {done}: {keeper.on_stop}")
            go_on(run, keeper)


def go_on(run: Run, keeper: Keeper) -> None:
    """Do what comes next: steps up to a validation or checkpoint, and what is due there.

    A rank that takes over from a lost one begins at any of these places.
    """
    stage = run.stage
    if stage.done in (Done.STEPPED, Done.SAVED):
        stage.asked = train_stretch(run)
        stage.done = Done.AUDITED
    if stage.done == Done.AUDITED:
        stage.improved = run.is_due(run.settings.validation) and close_interval(run, keeper)
        stage.done, stage.before = Done.CLOSED, None
    run.work.audit.keep(run.state)
    if stage.asked or stage.improved or run.is_due(run.settings.checkpoint):
        keeper.save(run, stage.improved)
    stage.done = Done.SAVED


def begin(run: Run, keeper: Keeper) -> None:
    """Compare the replicas that the run begins with, and write down what they hold."""
    run.work.audit.begin(run.state)
    with run.comm.together("opening the run folder"):
        if run.comm.is_root and not run.state.digests:
            add_digest(run, keeper)
    if run.comm.survives:
        # Any rank can become rank 0.
        run.state.digests = run.comm.share(run.state.digests)
    run.work.audit.keep(run.state)


def train_stretch(run: Run) -> bool:
    """Train up to the next validation or checkpoint; return True where a rank was asked to stop.

    Then the replicas are compared. Where they differ, all ranks go back to the last audited state
    and compute these steps again (`audit = "redo"`).
    """
    audit, ledger = run.work.audit, run.work.ledger
    while True:
        asked, divergence = False, None
        try:
            with run.network.device.explaining():
                asked = train_steps(run, run.rates(run.state.step, run.next_stop()))
            ledger.settle(run.state)
        except Divergence as error:
            # Raised only after the audit: a flipped bit can be the cause, instead of the settings.
            divergence = error
        if audit.passes(run.state):
            break
        ledger.forget()
        run.stage.done = Done.SAVED
        journal.note("done again", step=run.state.step)
        run.warn(run.state.faults[-1])
    if divergence:
        raise divergence
    refuse_overflow(run)
    return asked


def train_steps(run: Run, rates: list[float]) -> bool:
    """Do one step for each rate; return True, and stop, after one in which a rank was asked to."""
    for rate in rates:
        begin = time.perf_counter()
        totals = train_step(run, run.state.step, rate)
        seconds = time.perf_counter() - begin
        divisor = run.work.batches.divisor(run.state.step) if totals.samples else 0.0
        run.state.add(totals.loss, totals.correct, totals.samples, seconds, divisor)
        run.stage.done = Done.STEPPED
        if run.state.step % run.steps_per_epoch == 0:
            run.work.ledger.close_epoch(run.state)
        if divisor and run.settings.training.epsilon and is_flat(run, rate, divisor):
            run.state.stop("gradient")
        if totals.stop or run.state.stopped_early:
            return bool(totals.stop)
    return False


def train_step(run: Run, step: int, rate: float) -> Totals:
    """Do update number `step` (the first is 0) at learning rate `rate`; return the summed header.

    Collective. A rank that fails still sends its message, with `failures = 1`: then all raise.
    """
    comm, error, recording = run.comm, None, None
    sums = run.work.begin_step(step)
    if comm.watch.timeline:
        comm.watch.timeline.step = step + 1
    try:
        call_back(run, step)
        comm.phase("reading a batch")
        recording = run.recordings.of(step)  # may lack memory: here the other ranks are told
        if run.injection:
            run.injection.at_step(run, step)
        if recording:
            recording.prepare(step, rate)
        else:
            # An overflow is reported once, by the check of the loss below.
            with np.errstate(over="ignore", invalid="ignore"):
                (compute_together if sums else compute_gradients)(run, step)
    except BaseException as caught:
        error = run.network.device.explained(caught)
    phase, stop = comm.watch.current, run.preemption.signal is not None
    if recording and not error:
        comm.phase("forward")
        totals = recording.replay(stop)
    else:
        if sums and error:
            sums.abandon()
        rows = run.work.batches.rows(step)
        totals = run.work.reducer.sum_gradients(rows, error is not None, stop)
    if totals.failures:
        comm.settle(f"{phase} (step {step}{run.of_layer})", error)
    if not math.isfinite(totals.loss):
        return leave_out(run, totals, step)
    if not recording:
        comm.phase("update")
        with np.errstate(over="ignore", invalid="ignore"):
            divisor = run.work.batches.divisor(step)
            run.optimizer.step(run.work.reducer.totals, rate, divisor, step + 1, totals.samples)
    if run.optimizer.average:
        run.optimizer.average.follow(step + 1)
    run.work.ledger.end_step()
    return totals


def call_back(run: Run, step: int) -> None:
    """Tell the callbacks that a step begins."""
    if run.callbacks:
        run.comm.phase("callback")
        with run.comm.alone_in("a callback"):
            for callback in run.callbacks:
                callback.on_step(run, step)


def compute_gradients(run: Run, step: int) -> None:
    """Compute the gradients of this rank's parts of a step, and hand them to the reducer."""
    comm, network, reducer = run.comm, run.network, run.work.reducer
    for part in run.work.batches.parts_of(step):
        run.work.ledger.use(part.samples)
        comm.phase("forward")
        outputs, backward = network.forward(part.inputs, reducer.open(step, part.piece))
        weights = run.work.batches.weights(part.samples)
        loss, loss_gradient = weighed(
            *run.loss.forward(outputs, part.targets, run.loss_context),
            weights if weights is None else network.device.put(weights),
        )
        right = correct(outputs, part.targets)
        comm.phase("backward")
        backward(loss_gradient())
        reducer.add(part.piece, loss, right)
        comm.phase("reading a batch")
    comm.phase("backward")


def is_flat(run: Run, rate: float, divisor: float) -> bool:
    """Return True where the last update was as small as `training.epsilon`. Collective.

    Rank 0 decides for all, so that a faulty replica can't send the ranks into different branches.
    """
    norm = run.optimizer.gradient_norm(run.work.reducer.totals, divisor)
    return run.comm.share(rate * norm <= (run.settings.training.epsilon or 0.0))


def separates(run: Run) -> bool:
    """Return True where a perceptron makes no mistake on the training rows. Collective."""
    return run.score(run.dataset.splits["train"], "looking for mistakes").accuracy == 1


def close_interval(run: Run, keeper: Keeper) -> bool:
    """Validate, report, decide about stopping early; return True where this is the best so far."""
    state, comm, judged = run.state, run.comm, run.settings.validation
    if comm.survives:
        run.stage.before = state.copy()
    score = run.validate()
    report = Report(
        step=state.step,
        epoch=run.epoch,
        learning_rate=run.rates(state.step - 1, state.step)[0],
        train_loss=state.loss * run.loss_unit / (state.weight or math.nan),
        train_accuracy=state.correct / (state.samples or math.nan) if run.dataset.classes else None,
        validation_loss=score.loss if score else None,
        validation_accuracy=score.accuracy if score else None,
        penalty=run.network.penalty(run.settings.optimizer.weight_decay) * run.loss_unit,
        samples_per_second=state.samples / max(state.seconds, 1e-9),
        seconds=state.seconds,
        metrics=dict(score.metrics) if score else {},
    )
    report = comm.share(report)
    for name, value in report.facts().items():
        if value is not None and not math.isfinite(value):
            # Every number: the penalty of finite weights can overflow.
            raise diverged(run, f"the {name.replace('_', ' ')} is {value}", state.step)
    falling = falls(judged.best, judged.direction)
    improved = state.close_interval(report, judged.patience, judged.best, falling)
    if isinstance(run.loss, Perceptron) and separates(run):
        state.stop("separated")
    if improved and (comm.is_root or comm.survives):
        run.best = run.host_values()
    slow = run.work.pace.close_interval()
    with comm.together("callback"):
        with comm.alone_in("a callback"):
            for line in slow:
                run.warn(line)
            for callback in run.callbacks if run.stage.told < state.step else ():
                callback.on_interval(run, report)
        run.stage.told = state.step
        if comm.is_root:
            add_digest(run, keeper)
            keeper.add_metrics(state.history[-1])
    if comm.survives:
        last = comm.share(state.digests[-1])
        state.digests += [] if comm.is_root else [last]
    return improved


def add_digest(run: Run, keeper: Keeper) -> None:
    """Add the digests of the present state to the chain (rank 0)."""
    state = run.state
    before = state.digests[-1] if state.digests else None
    state.digests.append(
        record(run.network, run.optimizer, run.work.batches, state.step, before,
               {} if before else run.about(),
               run.work.audit.known_at(state.step))
    )  # fmt: skip
    keeper.add_digest(state.digests[-1])
