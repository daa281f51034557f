"""The sums of a block of a split as a CUDA graph: its forward pass and its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.data import Split
from disttrain.model import PREDICTION
from disttrain.training.evaluation import errors
from disttrain.training.recorded.captured_reading import Reading, Resident
from disttrain.training.recorded.losses import note_loss
from disttrain.training.recorded.passes import note_forward

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["CapturedJudgement"]


class CapturedJudgement:
    """What `Judgement` is on the processor: with the bits of `evaluation.judged` on a GPU."""

    def __init__(self, run: Run, split: Split, rows: int, resident: Resident) -> None:
        self._device = run.network.device
        self._program = program = self._device.program(run.network.dtype, rows, 0, 1)
        self._reading = Reading(program, run, split, rows, rows, resident, training=False)
        inputs, self._targets = self._reading.part(0, rows)
        (self.outputs,), _ = note_forward(program, run.network, [inputs], [PREDICTION])
        weights, targets = resident.weights(split), self._targets
        losses, _ = note_loss(program, run.loss, self.outputs, targets, run.loss_context, weights)
        program.tally(losses, 0, self.outputs, targets if targets.dtype == np.int64 else None)
        program.tell()

    def __call__(self, samples: np.ndarray) -> tuple[Any, ...] | None:
        """Return the sums for these samples; None where the loss is not finite."""
        self._reading.prepare(samples, None)
        self._program.run()
        loss, right, _ = self._program.found.tolist()
        if not np.isfinite(loss):
            return None
        targets = self._targets
        if targets.dtype.kind == "f" and targets.shape == self.outputs.shape:
            return loss, int(right), *errors(self._device.get(self.outputs - targets))
        return loss, int(right)
