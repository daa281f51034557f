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
from disttrain.training.recorded.batch_sums import Rounds
from disttrain.training.recorded.captured import REDUCERS, Captured
from disttrain.training.recorded.captured_judgement import CapturedJudgement
from disttrain.training.recorded.captured_reading import Resident
from disttrain.training.recorded.judgement import Judgement
from disttrain.training.recorded.losses import LOSSES, note_loss
from disttrain.training.recorded.originals import instances, replaced, same, settings_of
from disttrain.training.recorded.passes import LAYERS, note_backward, note_forward
from disttrain.training.recorded.reading import Reading
from disttrain.training.recorded.sums import NOTES
from disttrain.training.recorded.update import note_update
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
        # What lies on a GPU for all recordings.
        self._resident = Resident(run)
        self._judgements: dict[tuple[int, int], Judgement | CapturedJudgement | None] = {}
        self._attributes, self._settings = instances(run), settings_of(run)
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
        self._follow_settings()
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

    def _follow_settings(self) -> None:
        """Forget the recordings where a callback has changed a layer, as its rate of dropout."""
        if not same(self._settings, self._run):
            self._found.clear()
            self._judgements.clear()
            self._settings = settings_of(self._run)

    def judgement(self, split: Split, rows: int) -> Judgement | CapturedJudgement | None:
        """Return the recorded sums of `rows` samples of a split; None: they are done eagerly."""
        of_the_run = any(split is each for each in self._run.dataset.splits.values())
        if self.why_not or not of_the_run or replaced(self._attributes):
            return None
        self._follow_settings()
        key, run = (id(split), rows), self._run
        if key not in self._judgements:
            try:
                if run.network.device.captures:
                    self._judgements[key] = CapturedJudgement(run, split, rows, self._resident)
                else:
                    self._judgements[key] = Judgement(run, split, rows)
            except NotRecordable:
                self._judgements[key] = None
        return self._judgements[key]


def why_not(run: Run) -> str:
    """Return why the steps of a run can't be recorded, as part of a sentence; "" where they can."""
    network, device = run.network, run.network.device
    if device.kind != "cpu" and not device.captures:
        return "steps on this device are not recorded"
    for name, layer in zip(network.names, network.layers, strict=True):
        if type(layer) in BUILT_IN.values() and type(layer) not in LAYERS:
            return f"{name} has no recorded form"
        if type(layer) not in LAYERS:
            return f"{name} ({type(layer).__name__}) is not a layer of disttrain's own"
    if type(run.loss) not in LOSSES:
        return f"the loss {type(run.loss).__name__} has no recorded form"
    if type(run.work.reducer) not in (REDUCERS if device.captures else NOTES):
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
        pieces = run.work.batches.division.parts(rows)
        self._low, self._high = pieces[0].low, pieces[-1].high
        self._program = Program(run.network.dtype)
        self._notes = NOTES[type(run.work.reducer)](
            self._program, run.work.reducer, run.network.layout
        )
        sums = run.work.batch_sums
        self._ask = Rounds(self._program, self._notes, sums, rows) if sums else None
        self._note([piece for piece in pieces if piece.low < piece.high])

    def _note(self, pieces: Sequence[Piece]) -> None:
        """Note the whole step."""
        run, program, notes = self._run, self._program, self._notes
        notes.part("reading", "reading a batch")
        groups = [pieces] if self._ask and pieces else notes.side_by_side(pieces)
        most = rows = self._high - self._low
        if rows > PIECE_ROWS or not all(piece.first and piece.last for piece in pieces):
            # A batch that goes through in passes is read so too: it may be large.
            most = max(group[-1].high - group[0].low for group in groups)
        into = notes.inputs(Piece(self._low, self._high, self._rows))
        self._reading = Reading(program, run, run.dataset.splits["train"], rows, most, into)
        losses_in_header = run.work.reducer.tally.units
        program.zero(notes.header)
        for group in groups:
            self._note_pieces(group)
        if not pieces:
            notes.nothing()
            if self._ask:
                self._ask.nothing()
        program.end_header(notes.header, losses_in_header + 3)
        notes.sum(self._rows)
        program.check(notes.total, losses_in_header)
        notes.part("compute", "update")
        note_update(program, run, self._rows)

    def _note_pieces(self, pieces: Sequence[Piece]) -> None:
        """Note the way forth and back of pieces that are under way at once."""
        run, program, notes = self._run, self._program, self._notes
        header, place = notes.header, run.work.reducer.tally.units
        weights = run.dataset.splits["train"].weights
        if not self._reading.whole:
            notes.part("reading", "reading a batch")
        low = pieces[0].low
        read_inputs, read_targets = self._reading.part(low - self._low, pieces[-1].high - self._low)
        parts = [slice(piece.low - low, piece.high - low) for piece in pieces]
        notes.part("compute", "forward")
        passes = [notes.open(piece)._replace(place=n) for n, piece in enumerate(pieces)]
        inputs = [read_inputs[part] for part in parts]
        outputs, backs = note_forward(program, run.network, inputs, passes, self._keys, self._ask)
        judged = []
        for piece, output, part in zip(pieces, outputs, parts, strict=True):
            context = run.loss_context
            if len(pieces) > 1:  # the gradients of all are there at once
                context = replace(context, workspace=Workspace(np.empty))
            targets, first = read_targets[part], piece.low - self._low
            judged.append(note_loss(program, run.loss, output, targets, context, weights, first))
            classes = targets if targets.dtype == np.int64 else None
            program.tally_right(output, classes, header, place)
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
        block.divisor, block.rate = run.work.batches.divisor(step), rate
        block.inverse = 1.0 / block.divisor
        settings, t = run.settings.optimizer, step + 1
        if not isinstance(settings, Sgd):
            block.unbias = 1 - settings.beta1**t
            block.root = 1 / math.sqrt(1 - settings.beta2**t)

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
