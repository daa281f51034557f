"""Replay: computing steps of a run again, and comparing the results with its digests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import Snapshot, all_checkpoints, load
from disttrain.comm import Communicator
from disttrain.errors import CheckpointError, DataError, Preempted, UsageError
from disttrain.model import Layer, Loss
from disttrain.preemption import Preemption
from disttrain.runs.adaptation import compare_data
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import arithmetic_of, refuse_other_loss, refuse_own_layers
from disttrain.training.build import build_run
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.integrity.audit import tensor_sums
from disttrain.training.integrity.chain import read, sums_of
from disttrain.training.limits import within_limits
from disttrain.training.pretraining import pretrain
from disttrain.training.run import Run
from disttrain.training.trainer import train_steps

__all__ = ["replay"]


@dataclass(frozen=True)
class Stretch:
    """What is to be replayed: from `snapshot` (None: the initial weights), to the steps of `marks`.

    `arithmetic` is what the run computed with, where it was exact.
    """

    settings: config.Settings
    snapshot: Snapshot | None
    marks: list[dict[str, Any]]
    arithmetic: Arithmetic | None


def replay(
    path: Path, first: int, last: int | None, comm: Communicator, preemption: Preemption,
    say: Callable[[str], None], layers: Sequence[Layer] | None = None, loss: Loss | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Compute steps `first..last` of the run in `path` again and return what was found. Collective.

    It begins at the newest whole checkpoint that is not behind `first`, or at the initial weights,
    and compares weights and slots with the run's digests at each interval from `first` to `last`
    (None: the end). `layers` and `loss` are the user's own, if any. `whole` says that all are
    alike, `step` and `tensor` where they first differ.
    Raises CheckpointError for a run without digests or with a broken chain of them, UsageError for
    steps that it does not have.
    """
    own: dict[str, Any] = {"layers": layers, "loss": loss}
    with comm.together("opening the run folder", by_root=True):
        stretch = look_up(path, first, last, layers, loss) if comm.is_root else None
    mine = stretch or Stretch(None, None, [], None)  # type: ignore[arg-type]
    settings, recorded = comm.share((mine.settings, mine.arithmetic))
    steps = comm.share([mark["step"] for mark in mine.marks])
    run = build_run(settings, comm, recorded=recorded, preemption=preemption, **own)
    begin_from = stretch.snapshot if stretch else None
    with comm.together("restoring"):
        if begin_from and (other := compare_data(run, begin_from, say)):
            raise DataError(other.sentence)
    run.restore(begin_from)
    pretrain(run)
    begin, compared, odd = run.state.step, [], ""
    if comm.is_root:
        say(f"replaying from step {begin} on {comm.size} rank{'s' * (comm.size > 1)}")
    with within_limits(run.settings, comm, run.threads):
        for number, step in enumerate(steps):
            steps_to(run, step)
            if stretch:
                odd = difference(run, stretch.marks[number])
                say(f"step {step}: {'as recorded' if not odd else f'differs in {odd}'}")
            odd = comm.share(odd)
            compared.append(step)
            if odd:
                break
    run.close()
    return {
        "path": str(path), "whole": not odd, "from": begin, "compared": compared,
        "ranks": comm.size, "mode": run.settings.reproducibility.mode,
        "step": compared[-1] if odd else None, "tensor": odd or None,
    }  # fmt: skip


def look_up(
    path: Path, first: int, last: int | None, layers: Sequence[Layer] | None, loss: Loss | None
) -> Stretch:
    """Return what is to be replayed, from the files of the run."""
    folder = RunFolder(path)
    if not folder.holds_a_run():
        raise CheckpointError(f"{path} holds no run: give a run folder")
    records = read(folder.digests)
    end = records[-1]["step"] if last is None else last
    marks = [record for record in records if first <= record["step"] <= end]
    if not marks or end > records[-1]["step"] or first > end:
        raise UsageError(
            f"{path} has digests of steps {records[0]['step']} to {records[-1]['step']}, none from "
            f"{first} to {end}: choose --from and --to so that an interval ends between them"
        )
    begin, newest = None, None
    for checkpoint in [*all_checkpoints(folder.checkpoints), folder.best]:
        try:
            found = load(checkpoint)
        except CheckpointError:
            continue
        newest = found if newest is None or found.step > newest.step else newest
        if found.step <= marks[0]["step"] and (begin is None or found.step > begin.step):
            begin = found
    settings = config.read(folder.run_file)
    if newest:
        refuse_what_cannot_be_repeated(newest, begin.step if begin else 0)
        refuse_own_layers(newest, path, layers)
        refuse_other_loss(newest, path, loss.kind if loss else settings.model.loss)
    return Stretch(settings, begin, marks, arithmetic_of(newest) if newest else None)


def refuse_what_cannot_be_repeated(newest: Snapshot, begin: int) -> None:
    """Raise UsageError where the run file is not what the run was trained by from `begin` on."""
    changed = newest.progress.changed_at
    if changed > begin:
        raise UsageError(
            f"the run went on with accepted changes at step {changed}: replay it --from {changed} "
            "or later"
        )


def steps_to(run: Run, step: int) -> None:
    """Train up to `step`. Collective."""
    while run.state.step < step:
        end = min(step, run.state.step + run.steps_per_epoch)
        if train_steps(run, run.rates(run.state.step, end)):
            raise Preempted(f"asked to stop after step {run.state.step} of a replay up to {step}")


def difference(run: Run, mark: dict[str, Any]) -> str:
    """Return the first tensor that is not as `mark` says, or an empty string (rank 0)."""
    found = sums_of(tensor_sums(run.network, run.optimizer))
    return next((name for name in mark["tensors"] if mark["tensors"][name] != found.get(name)), "")
