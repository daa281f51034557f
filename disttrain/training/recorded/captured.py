"""A step on a GPU as a CUDA graph: the same recording as on the processor, launched at once.

Reading from rows that lie on the GPU, both passes, losses and header are one graph; on one rank the
update too. On several ranks the sum is done as for an eager step, and so is the update behind it.
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
from disttrain.data import PIECE_ROWS, ArrayRows, Feed, Piece
from disttrain.data.source import SharedRows
from disttrain.model import Dropout, Loss, Softmax, Squared
from disttrain.model.losses import SquaredInUnits
from disttrain.training.recorded.losses import note_loss
from disttrain.training.recorded.passes import note_backward, note_forward
from disttrain.training.reducers import LeafReducer, ShareReducer, Totals

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["LOSSES", "REDUCERS", "Captured", "why_not"]

Array = Any
# What has kernels that a capture can hold, besides all layers that are recorded at all.
LOSSES: tuple[type[Loss], ...] = Softmax, Squared, SquaredInUnits
REDUCERS = ShareReducer, LeafReducer
# The part of the GPU's free memory that the rows of the training may take.
ROOM = 0.5


def why_not(run: Run) -> str:
    """Return why the steps of a run can't be captured, as part of a sentence; "" where they can."""
    if run.work.batch_sums and run.comm.size > 1:
        return "batch normalization on several GPUs has no recorded form"
    if run.work.batches.counts is not None:
        return "the samples have weights"
    if run.settings.training.accumulate > 1:
        return "a batch goes through in several passes"
    if any(factor != 1 for *_, factor in run.optimizer.regions):
        return "layers have learning rates of their own"
    return ""


class Captured:
    """One step for global batches of `rows`: `prepare` does it, `replay` adds it over the ranks.

    Raises NotRecordable where the batch has a shape that is not recorded.
    """

    def __init__(self, run: Run, rows: int, resident: dict[int, Array]) -> None:
        self._run, self._rows = run, rows
        pieces = [p for p in run.work.batches.division.parts(rows) if p.low < p.high]
        if not pieces or pieces[-1].high - pieces[0].low > PIECE_ROWS:
            raise NotRecordable("this rank has no rows, or more than go through at once")
        if not all(piece.first and piece.last for piece in pieces):
            raise NotRecordable("the batch is cut into pieces")
        self._pieces, self._low, self._high = pieces, pieces[0].low, pieces[-1].high
        network, mine = run.network, self._high - self._low
        layers = zip(network.names, network.layers, strict=True)
        self._keys = [name for name, layer in layers if isinstance(layer, Dropout)]
        self._units = run.work.reducer.tally.units
        self._program = network.device.program(network.dtype, mine, len(self._keys), self._units)
        self._reading = Reading(self._program, run, mine, resident)
        self._ask = self._program.sum_over_batch if run.work.batch_sums else None
        for group in [pieces] if self._ask else [[piece] for piece in pieces]:
            self._note(group)
        alone = run.work.reducer.way == "none"
        self._updates = alone and run.settings.optimizer.clip_norm is None
        if self._updates:
            note_update(self._program, run)
        self._told = False

    def _note(self, pieces: Sequence[Piece]) -> None:
        """Note the way forth and back of pieces under way at once, and what is added then."""
        run, program, reducer = self._run, self._program, self._run.work.reducer
        passes = [reducer.open(0, piece)._replace(place=n) for n, piece in enumerate(pieces)]
        parts = [slice(piece.low - self._low, piece.high - self._low) for piece in pieces]
        inputs, gradients = [self._reading.inputs[part] for part in parts], []
        outputs, backs = note_forward(program, run.network, inputs, passes, self._keys, self._ask)
        for piece, part, output in zip(pieces, parts, outputs, strict=True):
            targets, context = self._reading.targets[part], run.loss_context
            if len(pieces) > 1:  # the gradients of all are there at once
                context = replace(context, workspace=Workspace(run.network.device.empty))
            losses, gradient = note_loss(program, run.loss, output, targets, context)
            classes = targets if targets.dtype == np.int64 else None
            program.tally(losses, piece.unit if self._units > 1 else 0, output, classes)
            gradients.append(gradient())
        note_backward(backs, gradients, lambda layer, place: None)
        if isinstance(reducer, LeafReducer):
            for to, other in (pair for piece in pieces for pair in reducer.plan(piece)[1]):
                program.add(reducer.vectors[to], reducer.vectors[other])

    def prepare(self, step: int, rate: float) -> None:
        """Set what changes from step to step, read what does not lie on the GPU, and do the step.

        All that can fail on one rank alone is done here: `replay` then tells the others.
        """
        run, program, settings = self._run, self._program, self._run.settings.optimizer
        samples = run.work.batches.samples(step, self._low, self._high)
        run.work.ledger.use(samples)
        self._reading.prepare(samples, step // run.steps_per_epoch)
        program.samples[...] = samples
        for number, name in enumerate(self._keys):
            key = np.frombuffer(key_of(run.network.seed, f"dropout {name}", step), "<i8")
            program.keys[2 * number : 2 * number + 2] = key
        self._t, self._rate = step + 1, rate
        program.numbers[:2] = 1.0 / self._rows, rate
        if not isinstance(settings, Sgd):
            program.numbers[2] = rate / (1 - settings.beta1**self._t)
            program.numbers[3] = 1 / math.sqrt(1 - settings.beta2**self._t)
        run.comm.phase("forward")
        program.run()
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
        if not (self._updates or totals.failures) and math.isfinite(totals.loss):
            run.comm.phase("update")
            with np.errstate(over="ignore", invalid="ignore"):
                run.optimizer.step(reducer.totals, self._rate, totals.samples, self._t)
        return totals


class Reading:
    """How samples of the training become `inputs` and `targets`, arrays on the GPU.

    uint8 rows and targets that fit lie on the GPU (`resident` has them, for all batches of a run);
    other rows are read and normalized on the host and copied before the step.
    """

    def __init__(self, program: Any, run: Run, rows: int, resident: dict[int, Array]) -> None:
        self._split, self._feed = run.dataset.splits["train"], None
        network, normalization = run.network, run.normalization
        device, dtype, targets = network.device, np.dtype(network.dtype), self._split.targets
        if targets.dtype not in (np.int64, np.float64):
            raise NotRecordable("the targets have a type that is not recorded")
        if run.feed.scale:
            targets = run.feed.scale.apply(targets)
        source = self._split.rows
        flat: Array = device.empty((rows, source.inputs), dtype)
        self.inputs = flat.reshape(rows, *network.shapes[0])
        kind = np.dtype("i8") if targets.dtype == np.int64 else dtype
        self.targets = flat
        if not run.feed.reconstructs:
            self.targets = device.empty((rows, *targets.shape[1:]), kind)
        scale, shift = normalization.factors(dtype)
        stays = (
            type(source) in (ArrayRows, SharedRows) and source.dtype == np.uint8
            and normalization.pixels and scale.dtype == dtype and run.feed.augmentation is None
        )  # fmt: skip
        if not (stays and kept(device, self._split, targets, resident)):
            self._feed = Feed(normalization, network.shapes[0], network.dtype, device,
                              run.feed.scale, run.feed.reconstructs)  # fmt: skip
            self._feed.augmentation = run.feed.augmentation
            return
        program.gather(resident[0], scale, shift, flat)
        if not run.feed.reconstructs:
            program.take(resident[1], self.targets)

    def prepare(self, samples: np.ndarray, epoch: int) -> None:
        """Read what does not lie on the GPU."""
        if self._feed is None:
            return
        # An overflow is reported once, by the check of the loss.
        with np.errstate(over="ignore", invalid="ignore"):
            inputs, targets = self._feed(self._split, samples, epoch)
        self.inputs[...] = inputs
        if not self._feed.reconstructs:
            self.targets[...] = targets.reshape(self.targets.shape)


def kept(device: Any, split: Any, targets: np.ndarray, resident: dict[int, Array]) -> bool:
    """Return whether rows and targets lie on the GPU, copied there where they fit."""
    if not resident:
        stored, _ = split.rows.locate(np.empty(0, np.int64))
        if stored.nbytes + targets.nbytes > ROOM * device.free_memory():
            return False
        resident[0] = device.put(np.ascontiguousarray(stored))
        resident[1] = device.put(np.ascontiguousarray(targets))
    return True


def note_update(program: Any, run: Run) -> None:
    """Note the update, as `Optimizer.step` does it; parts that are neighbours in one launch."""
    settings, optimizer, g = run.settings.optimizer, run.optimizer, run.work.reducer.totals
    for part, decay, decayed in merged(optimizer.regions):
        vectors = [run.network.values[part], *(s[part] for s in optimizer.slots.values()), g[part]]
        if isinstance(settings, Sgd):
            program.momentum(settings.form, vectors, settings.momentum, decay, decayed)
        else:
            program.adam(
                vectors, settings.kind == "adamw", decay, settings.beta1, settings.beta2,
                settings.epsilon, decayed,
            )  # fmt: skip
    for part in optimizer.averages:
        program.averages(run.network.values[part], g[part])


def merged(regions: Any) -> list[tuple[slice, float, int]]:
    """Return parts of the weights, the decay of each, and how many of its first numbers decay."""
    found: list[tuple[slice, float, int]] = []
    for part, decay, _ in regions:
        before = found[-1] if found else None
        if before and before[0].stop == part.start and decay == 0:
            found[-1] = slice(before[0].start, part.stop), before[1], before[2]
        else:
            found.append((part, decay, part.stop - part.start))
    return found
