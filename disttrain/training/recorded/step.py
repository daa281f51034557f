"""A step as a recording: made once for each number of rows, then replayed by one call into C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain import journal
from disttrain.arrays import Workspace
from disttrain.arrays.compiled_images import CompiledImages
from disttrain.arrays.draws import key_of
from disttrain.arrays.recording import Block, NotRecordable, Program, why_no_recordings
from disttrain.config import Sgd
from disttrain.data import PIECE_ROWS, Piece, Split
from disttrain.model import BUILT_IN, Conv, Dropout, Network
from disttrain.model.layers.pooling import Pool
from disttrain.training.recorded import captured
from disttrain.training.recorded.batch_sums import Rounds
from disttrain.training.recorded.captured import Captured
from disttrain.training.recorded.judgement import Judgement
from disttrain.training.recorded.originals import instances, replaced
from disttrain.training.recorded.passes import (
    LAYERS,
    LOSSES,
    note_backward,
    note_forward,
    note_loss,
)
from disttrain.training.recorded.reading import Reading
from disttrain.training.recorded.sums import NOTES
from disttrain.training.reducers import Totals

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["Recording", "Recordings"]

Array = np.ndarray[Any, Any]


class Recordings:
    """The recordings of a run, by the number of rows of a global batch.

    `why_not` says why steps of this run run eagerly; it is "" where they are recorded.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._found: dict[int, Recording | Captured | None] = {}
        # The rows of the training and their targets, where they lie on a GPU.
        self._resident: dict[int, Any] = {}
        self._judgements: dict[tuple[int, int], Judgement | None] = {}
        self._attributes = instances(run)
        self.why_not = why_not(run)
        if self.why_not:
            journal.note("steps are not recorded", why=self.why_not)

    @property
    def in_words(self) -> str:
        """What `check` says of a step."""
        if self.why_not:
            return f"not recorded: {self.why_not}"
        on_gpu = self._run.network.device.kind != "cpu"
        return "captured in a CUDA graph" if on_gpu else "recorded"

    def of(self, step: int) -> Recording | Captured | None:
        """Return the recording for `step`, made where there is none yet; None: it runs eagerly."""
        if self.why_not or replaced(self._attributes):
            return None
        rows = self._run.work.batches.rows(step)
        if rows not in self._found:
            try:
                if self._run.network.device.captures:
                    self._found[rows] = Captured(self._run, rows, self._resident)
                else:
                    self._found[rows] = Recording(self._run, rows)
            except NotRecordable:
                self._found[rows] = None
        return self._found[rows]

    def judgement(self, split: Split, rows: int) -> Judgement | None:
        """Return the recorded sums of `rows` samples of a split; None: they are done eagerly."""
        of_the_run = any(split is each for each in self._run.dataset.splits.values())
        eager = self.why_not or split.weights is not None or not of_the_run
        if eager or self._run.network.device.captures or replaced(self._attributes):
            return None
        key = id(split), rows
        if key not in self._judgements:
            try:
                self._judgements[key] = Judgement(self._run, split, rows)
            except NotRecordable:
                self._judgements[key] = None
        return self._judgements[key]


def why_not(run: Run) -> str:
    """Return why the steps of a run can't be recorded, as part of a sentence; "" where they can."""
    network, device = run.network, run.network.device
    if device.kind != "cpu" and not device.captures:
        return "steps on this device are not recorded"
    forms: Any = captured.LAYERS if device.captures else LAYERS
    for name, layer in zip(network.names, network.layers, strict=True):
        if type(layer) in BUILT_IN.values() and type(layer) not in forms:
            return f"{name} has no recorded form{' on a GPU' * device.captures}"
        if type(layer) not in forms:
            return f"{name} ({type(layer).__name__}) is not a layer of disttrain's own"
    if type(run.loss) not in LOSSES:
        return f"the loss {type(run.loss).__name__} has no recorded form"
    if run.work.batches.counts is not None:
        return "the samples have weights"
    if run.settings.training.accumulate > 1:
        return "a batch goes through in several passes"
    if any(factor != 1 for *_, factor in run.optimizer.regions):
        return "layers have learning rates of their own"
    if type(run.work.reducer) not in (captured.REDUCERS if device.captures else NOTES):
        return "the sum over ranks has no recorded form"
    if device.captures:
        return ""
    return why_no_recordings(network.dtype) or why_no_images(network)


def why_no_images(network: Network) -> str:
    """Return why layers for images can't be recorded; "" where they can, or there are none."""
    if isinstance(network.device.images, CompiledImages):
        return ""
    there = any(isinstance(layer, Conv | Pool) for layer in network.layers)
    return "convolution was installed without a C compiler: it is done in numpy" if there else ""


class Recording:
    """One step for global batches of `rows`: `prepare` it, then `replay` it.

    Raises NotRecordable where the batch has a shape that is not recorded.
    """

    def __init__(self, run: Run, rows: int) -> None:
        self._run, self._rows, self._block = run, rows, Block()
        self._keys = [
            name for name, layer in zip(run.network.names, run.network.layers, strict=True)
            if isinstance(layer, Dropout)
        ]  # fmt: skip
        pieces = [p for p in run.work.batches.division.parts(rows) if p.low < p.high]
        if not pieces or pieces[-1].high - pieces[0].low > PIECE_ROWS:
            raise NotRecordable("this rank has no rows, or more than go through at once")
        self._low, self._high = pieces[0].low, pieces[-1].high
        self._program = Program(run.network.dtype)
        self._notes = NOTES[type(run.work.reducer)](self._program, run.work.reducer)
        sums = run.work.batch_sums
        self._ask = Rounds(self._program, self._notes, sums, rows) if sums else None
        self._note(pieces)

    def _note(self, pieces: Any) -> None:
        """Note the whole step."""
        run, program, notes = self._run, self._program, self._notes
        notes.part("reading", "reading a batch")
        self._reading = Reading(program, run, run.dataset.splits["train"], self._high - self._low)
        losses_in_header = run.work.reducer.tally.units
        program.zero(notes.header)
        for group in [pieces] if self._ask else notes.side_by_side(pieces):
            self._note_pieces(group)
        program.end_header(notes.header, losses_in_header + 3)
        notes.sum(self._rows)
        program.check(notes.total, losses_in_header)
        self._updates = run.settings.optimizer.clip_norm is None
        notes.part("compute", "update")
        if self._updates:
            note_update(program, run)

    def _note_pieces(self, pieces: Sequence[Piece]) -> None:
        """Note the way forth and back of pieces that are under way at once."""
        run, program, notes = self._run, self._program, self._notes
        targets, losses_in_header = self._reading.targets, run.work.reducer.tally.units
        notes.part("compute", "forward")
        parts = [slice(piece.low - self._low, piece.high - self._low) for piece in pieces]
        passes = [notes.open(piece)._replace(place=n) for n, piece in enumerate(pieces)]
        inputs = [self._reading.inputs[part] for part in parts]
        outputs, backs = note_forward(program, run.network, inputs, passes, self._keys, self._ask)
        judged = []
        for part, output in zip(parts, outputs, strict=True):
            context = run.loss_context
            if len(pieces) > 1:  # the gradients of all are there at once
                context = replace(context, workspace=Workspace(np.empty))
            judged.append(note_loss(program, run.loss, output, targets[part], context))
            classes = targets[part] if targets.dtype == np.int64 else None
            program.tally_right(output, classes, notes.header, losses_in_header)
        notes.part("compute", "backward")
        note_backward(
            backs, [gradient() for _, gradient in judged],
            lambda layer, place: notes.layer_done(pieces[place], layer),
        )  # fmt: skip
        for piece, (losses, _) in zip(pieces, judged, strict=True):
            notes.add(piece, losses)

    def prepare(self, step: int, rate: float) -> None:
        """Set what changes from step to step: samples, rate, keys; read what C does not read."""
        run, block = self._run, self._block
        samples = run.work.batches.samples(step, self._low, self._high)
        run.work.ledger.use(samples)
        self._reading.prepare(block, samples, step // run.steps_per_epoch)
        if self._keys:
            seed = run.network.seed
            keys = b"".join(key_of(seed, f"dropout {name}", step) for name in self._keys)
            self._drawn = np.frombuffer(keys, "<u8")
            block.keys = self._drawn.ctypes.data
        self._t, self._rate = step + 1, rate
        block.inverse, block.rate = 1.0 / self._rows, rate
        settings = run.settings.optimizer
        if not isinstance(settings, Sgd):
            block.corrected_rate = rate / (1 - settings.beta1**self._t)
            block.root = 1 / math.sqrt(1 - settings.beta2**self._t)

    def replay(self, stop: bool) -> Totals:
        """Do the step; return the summed header. The update is left out where it has failed."""
        run, block = self._run, self._block
        optimizer, program = run.optimizer, self._program
        block.stop, block.checksum = stop, optimizer.checksum_read
        apart = self._ask or run.comm.watch.timeline
        first = 0 if apart else min(self._notes.stops, default=0)
        if first:
            # Here this rank's own work ends: what follows needs others.
            program.replay(block, 0, first)
            run.comm.phase(self._notes.stops[first].phase)
        done = self._go_on(first)
        while (stop_here := self._notes.stops.get(done)) is not None:
            if run.comm.watch.current != stop_here.phase:
                run.comm.phase(stop_here.phase)
            stop_here.action()
            done = self._go_on(done + (not stop_here.again))
        optimizer.checksum_read = block.checksum
        totals: Totals = run.work.reducer.tally.read(self._notes.total)
        if done == program.length and not self._updates:
            with np.errstate(over="ignore", invalid="ignore"):
                optimizer.step(run.work.reducer.totals, self._rate, totals.samples, self._t)
        return totals

    def _go_on(self, at: int) -> int:
        """Replay from call `at` on; return what `replay` returns.

        Part by part for a timeline, and where layers wait for others in between: what a rank then
        computes is not waiting.
        """
        comm = self._run.comm
        timeline = comm.watch.timeline
        if not (self._ask or timeline):
            return self._program.replay(self._block, at)
        parts = self._notes.parts
        ends = [begin for begin, *_ in parts[1:]] + [self._program.length]
        for (_, word, phase), end in zip(parts, ends, strict=True):
            if at < end:
                if self._ask and word != "sum" and comm.watch.current != phase:
                    comm.phase(phase)
                if timeline:
                    timeline.begin(word, phase)
                at = self._program.replay(self._block, at, end)
                if at < end:
                    break
        return at


def note_update(program: Program, run: Run) -> None:
    """Note the update, as `Optimizer.step` does it."""
    settings, optimizer, g = run.settings.optimizer, run.optimizer, run.work.reducer.totals
    for part, decay, _ in optimizer.regions:
        w, slots = run.network.values[part], [slot[part] for slot in optimizer.slots.values()]
        if isinstance(settings, Sgd):
            program.momentum(settings.form, [w, *slots, g[part]], settings.momentum, decay)
        else:
            program.adam(
                [w, *slots, g[part]], settings.kind == "adamw", decay,
                settings.beta1, settings.beta2, settings.epsilon,
            )  # fmt: skip
    for part in optimizer.averages:
        program.note("averages", (run.network.values[part], g[part]), (len(g[part]),))
