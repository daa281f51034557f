"""The sums of a block of a split, recorded: its forward pass and its losses in one call into C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.arrays.recording import Block, Program
from disttrain.data import Split
from disttrain.model import PREDICTION
from disttrain.training.evaluation import errors
from disttrain.training.recorded.losses import note_loss
from disttrain.training.recorded.passes import note_forward
from disttrain.training.recorded.reading import Reading

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["Judgement"]


class Judgement:
    """The sums over blocks of `rows` samples of a split, with the bits of `evaluation.judged`."""

    def __init__(self, run: Run, split: Split, rows: int) -> None:
        self._block = Block()
        self._program = program = Program(run.network.dtype)
        self._header = np.zeros(3)
        program.zero(self._header)
        self._reading = Reading(program, run, split, rows, rows, training=False)
        inputs, self._targets = self._reading.part(0, rows)
        (self.outputs,), _ = note_forward(program, run.network, [inputs], [PREDICTION])
        context, targets = run.loss_context, self._targets
        losses, _ = note_loss(program, run.loss, self.outputs, targets, context, split.weights)
        classes = targets if targets.dtype == np.int64 else None
        program.tally_loss(self._header, 0, losses)
        program.tally_right(self.outputs, classes, self._header, 1)

    def __call__(self, samples: np.ndarray) -> tuple[Any, ...] | None:
        """Return the sums for these samples; None where the loss is not finite."""
        self._reading.prepare(self._block, samples, None)
        self._program.replay(self._block)
        loss, right, _ = self._header
        if not np.isfinite(loss):
            return None
        targets = self._targets
        if targets.dtype.kind == "f" and targets.shape == self.outputs.shape:
            return float(loss), int(right), *errors(self.outputs - targets)
        return float(loss), int(right)
