"""Faults on purpose, to test a cluster or this program: `--inject kill:rank=2,step=50`."""

from __future__ import annotations

import difflib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain import journal
from disttrain.comm import Communicator
from disttrain.environment import launched
from disttrain.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["KINDS", "Fault", "Injection", "parse_fault"]

# What a fault does: all but the last two can happen in any phase, these to the weights at a step.
KINDS = ("kill", "stop", "slow", "raise", "disk-full", "nan", "bitflip")
OF_WEIGHTS = KINDS[-2:]
FORM = (
    "write KIND:rank=R,step=S or KIND:rank=R,phase=NAME, as in kill:rank=2,step=50; layer=L is "
    "for the pre-training of hidden layer L"
)


@dataclass(frozen=True)
class Fault:
    """What happens to `rank`: `kind` at the beginning of update `step` (the first is 0), or where
    it enters `phase` for the first time, from `step` on.

    "slow" takes `seconds` at each of these times, all others happen once. `step` counts the updates
    of the pre-training of the `layer`-th hidden layer; layer 0 is the training itself.
    """

    kind: str
    rank: int = 0
    step: int | None = None
    phase: str = ""
    seconds: float = 0.1
    layer: int = 0


def parse_fault(text: str) -> Fault:
    """Return the fault that `text` describes; raises UsageError, with the form, for any other."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        meant = f"; is {near[0]} meant?" if near else ""
        raise UsageError(f"--inject {text}: the kinds are {', '.join(KINDS)}{meant}")
    given: dict[str, Any] = {}
    kinds = {"rank": int, "step": int, "phase": str, "seconds": float, "layer": int}
    for pair in rest.split(",") if rest else ():
        key, _, value = pair.partition("=")
        try:
            given[key] = kinds[key](value)
        except (KeyError, ValueError):
            raise UsageError(f"--inject {text}: {pair!r} makes no sense; {FORM}") from None
    if kind == "disk-full":
        given.setdefault("phase", "saving")
    at_step = "step" in given and "phase" not in given
    if not (at_step or given.get("phase")) or (kind in OF_WEIGHTS and not at_step):
        raise UsageError(f"--inject {text}: {FORM}")
    if any(given.get(field.name, 0) < 0 for field in fields(Fault) if field.name in
           ("rank", "step", "seconds", "layer")):  # fmt: skip
        raise UsageError(f"--inject {text}: numbers count from 0; {FORM}")
    return Fault(kind, **given)


class Injection:
    """The faults of this rank, as it was numbered at the start; those of other ranks are ignored.

    The watch calls `entered` at each phase, `train_step` calls `at_step`.
    """

    def __init__(self, faults: Sequence[Fault], comm: Communicator) -> None:
        job = launched()
        rank = job.rank if job else comm.rank
        # As many as were started, also where some have died before this.
        size = max(job.size if job else 1, comm.size)
        self._waiting = [fault for fault in faults if fault.rank == rank]
        self._noted: set[Fault] = set()
        self._step, self._layer, self._redone = -1, 0, -1
        self._of: tuple[Communicator, int] = comm, len(comm.lost)
        beyond = [fault.rank for fault in faults if fault.rank >= size]
        if beyond and comm.is_root:
            # Not refused: a job that is started again without a lost host has fewer ranks.
            said = f"no fault happens on rank {beyond[0]}: ranks count from 0 to {size - 1}"
            journal.note(said, logging.WARNING)
        if self._waiting:
            comm.watch.entered = self.entered

    def entered(self, phase: str) -> None:
        """Do what is to happen in `phase`."""
        for fault in [f for f in self._waiting if f.phase and phase.startswith(f.phase)]:
            anywhere = fault.step is None and not fault.layer
            begin = -1 if fault.step is None else fault.step
            if anywhere or (fault.layer == self._layer and begin <= self._step):
                self._happen(fault, None)

    def at_step(self, run: Run, step: int) -> None:
        """Do what is to happen where the gradients of `step` are to be computed."""
        self._note_recovery(run.comm, step)
        self._step, self._layer = step, run.pretrains
        for fault in [f for f in self._waiting if not f.phase and f.layer == self._layer]:
            begin = fault.step or 0
            if begin == step or (fault.kind == "slow" and begin <= step):
                self._happen(fault, run)

    def _note_recovery(self, comm: Communicator, step: int) -> None:
        """Note the moment when a step has been done after a rank was lost."""
        if 0 <= self._redone < step:
            journal.note("first step after a loss", step=self._redone)
            self._redone = -1
        before, self._of = self._of, (comm, len(comm.lost))
        if before[0] is comm and before[1] != len(comm.lost):
            self._redone = step

    def _happen(self, fault: Fault, run: Run | None) -> None:
        if fault not in self._noted:
            self._noted.add(fault)
            journal.note("injected", kind=fault.kind, step=self._step)
        if fault.kind == "slow":
            time.sleep(fault.seconds)
            return
        self._waiting.remove(fault)
        match fault.kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "raise":
                raise RuntimeError("injected fault")
            case "disk-full":
                raise CheckpointError("injected: No space left on device; --resume goes on")
        if run is not None and fault.kind in OF_WEIGHTS:
            harm(run, fault.kind)


def harm(run: Run, kind: str) -> None:
    """Make a weight of the first layer that has some NaN, or flip a bit of it."""
    name, weight = next(iter(run.network.tensors(run.network.values).items()))
    values = np.array(weight)
    place = min(7, values.size - 1)
    if kind == "nan":
        values.reshape(-1)[place] = np.nan
    else:
        raw = values.reshape(-1).view(f"u{values.itemsize}")
        raw[place] ^= raw.dtype.type(1 << 13)
    tensors = {**run.network.tensors(run.network.values), name: values}
    run.network.load(tensors, run.network.values)
