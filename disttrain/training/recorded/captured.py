"""A step on a GPU as CUDA graphs: the same recording as on the processor, launched at once.

Reading from rows that lie on the GPU, both passes, losses and header are one graph; on one rank the
update too. On several ranks the sum is done as for an eager step, and the update behind it is
another graph; layers that ask for sums over the batch cut the first one in parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain import journal
from disttrain.arrays import Workspace
from disttrain.arrays.draws import key_of
from disttrain.arrays.recording import NotRecordable
from disttrain.config import Sgd
from disttrain.data import PIECE_ROWS, Piece
from disttrain.model import Dropout
from disttrain.training.recorded.captured_reading import Reading, Resident
from disttrain.training.recorded.captured_rounds import CapturedRounds
from disttrain.training.recorded.captured_update import note_update
from disttrain.training.recorded.losses import note_loss
from disttrain.training.recorded.passes import note_backward, note_forward
from disttrain.training.reducers import LeafReducer, ShareReducer, Totals

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["REDUCERS", "Captured"]

Array = Any
# What has kernels that a capture can hold, besides all layers and losses that are recorded at all.
REDUCERS = ShareReducer, LeafReducer


class Captured:
    """One step for global batches of `rows`: `prepare` does it, `replay` adds it over the ranks.

    Raises NotRecordable where the batch has a shape that is not recorded.
    """

    def __init__(self, run: Run, rows: int, resident: Resident) -> None:
        self._run, self._rows = run, rows
        pieces = [p for p in run.work.batches.division.parts(rows) if p.low < p.high]
        if not pieces:
            raise NotRecordable("this rank has no rows")
        self._low, self._high = pieces[0].low, pieces[-1].high
        network, mine, work = run.network, self._high - self._low, run.work
        layers = zip(network.names, network.layers, strict=True)
        self._keys = [name for name, layer in layers if isinstance(layer, Dropout)]
        self._units = work.reducer.tally.units
        self._program = network.device.program(network.dtype, mine, len(self._keys), self._units)
        split = run.dataset.splits["train"]
        self._weights = resident.weights(split)
        whole = mine <= PIECE_ROWS and all(piece.first and piece.last for piece in pieces)
        most = mine if whole else max(piece.high - piece.low for piece in pieces)
        self._reading = Reading(self._program, run, split, mine, most, resident)
        self._rounds: CapturedRounds | None = None
        self._ask = self._program.sum_over_batch if work.batch_sums else None
        if work.batch_sums and run.comm.size > 1:
            self._rounds = CapturedRounds(self._program, network.device, work.batch_sums)
            self._ask = self._rounds
        self._further: Array | None = None
        for group in [pieces] if self._ask else [[piece] for piece in pieces]:
            self._note(group)
        self._program.tell()
        alone = work.reducer.way == "none"
        # With the sum over ranks comes another part.
        self._update = None if alone else self._program.pause()
        note_update(self._program, run)
        self._told = False

    def _note(self, pieces: Sequence[Piece]) -> None:
        """Note the way forth and back of pieces under way at once, and what is added then."""
        run, program, low = self._run, self._program, pieces[0].low
        read = self._reading.part(low - self._low, pieces[-1].high - self._low)
        passes = [self._open(piece)._replace(place=n) for n, piece in enumerate(pieces)]
        parts = [slice(piece.low - low, piece.high - low) for piece in pieces]
        inputs, gradients = [read[0][part] for part in parts], []
        outputs, backs = note_forward(program, run.network, inputs, passes, self._keys, self._ask)
        for piece, part, output in zip(pieces, parts, outputs, strict=True):
            targets, context = read[1][part], run.loss_context
            if len(pieces) > 1:  # the gradients of all are there at once
                context = replace(context, workspace=Workspace(run.network.device.empty))
            given = output, targets, context, self._weights, piece.low - self._low
            losses, gradient = note_loss(program, run.loss, *given)
            classes = targets if targets.dtype == np.int64 else None
            program.tally(losses, piece.unit if self._units > 1 else 0, output, classes)
            gradients.append(gradient())
        note_backward(backs, gradients, lambda layer, place: None)
        for piece in pieces:
            self._add(piece)

    def _open(self, piece: Piece) -> Any:
        """Return the pass for a piece; a share's parts behind the first one have a vector."""
        run, reducer = self._run, self._run.work.reducer
        if piece.first or isinstance(reducer, LeafReducer):
            return reducer.open(0, piece)
        if self._further is None:
            zeros = np.zeros(run.network.layout.length, run.network.dtype)
            self._further = run.network.device.put(zeros)
            self._views = run.network.layout.views(self._further)
        return reducer.open(0, piece)._replace(gradients=self._views)

    def _add(self, piece: Piece) -> None:
        """Note what follows the way back of a piece: as `add` of the reducer."""
        program, reducer = self._program, self._run.work.reducer
        if isinstance(reducer, LeafReducer):
            number, additions = reducer.plan(piece)
            # A further part of a leaf has the last vector, and is added to the leaf's own.
            parts = [] if piece.first else [(number, -1)]
            for to, other in [*parts, *(additions if piece.last else ())]:
                program.add(reducer.vectors[to], reducer.vectors[other])
        elif not piece.first:
            assert isinstance(reducer, ShareReducer)
            program.add(reducer.sent, self._further)

    def prepare(self, step: int, rate: float) -> None:
        """Set what changes from step to step, read what does not lie on the GPU, and do the step.

        All that can fail on one rank alone is done here: `replay` then tells the others.
        """
        run, program, settings = self._run, self._program, self._run.settings.optimizer
        samples = run.work.batches.samples(step, self._low, self._high)
        run.work.ledger.use(samples)
        self._reading.prepare(samples, step // run.steps_per_epoch)
        for number, name in enumerate(self._keys):
            key = np.frombuffer(key_of(run.network.seed, f"dropout {name}", step), "<i8")
            program.keys[2 * number : 2 * number + 2] = key
        divisor, t, moments = run.work.batches.divisor(step), step + 1, (1.0, 1.0)
        if not isinstance(settings, Sgd):
            moments = 1 - settings.beta1**t, 1 / math.sqrt(1 - settings.beta2**t)
        program.numbers[:] = 1.0 / divisor, rate, *moments, divisor, 1.0 / self._rows
        run.comm.phase("forward")
        program.run()
        for part, action in self._rounds.behind.items() if self._rounds else ():
            action()
            program.run(part + 1)
        if program.problem and not self._told:
            journal.note("steps are launched one by one", why=program.problem)
            self._told = True

    def replay(self, stop: bool) -> Totals:
        """Return the summed header. The update is left out where the step has failed."""
        run, reducer, program = self._run, self._run.work.reducer, self._program
        losses, (right, rows) = program.found[: self._units], program.found[self._units :]
        for unit, loss in enumerate(losses.tolist()):
            reducer.tally.add(unit, loss, 0, 0)
        reducer.tally.add(0, 0.0, right, int(rows))
        totals = reducer.sum_gradients(self._rows, False, stop)
        if self._update and not totals.failures and math.isfinite(totals.loss):
            run.comm.phase("update")
            program.run(self._update)
        return totals
