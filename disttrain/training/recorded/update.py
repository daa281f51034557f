"""Noting the update of all weights, as `Optimizer.step` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.arrays.cpu_kernels import CHUNK
from disttrain.arrays.recording import Program
from disttrain.config import Sgd

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["note_update"]


def note_update(program: Program, run: Run, rows: int) -> None:
    """Note the update after a global batch of `rows`."""
    settings, optimizer, g = run.settings.optimizer, run.optimizer, run.work.reducer.totals
    if settings.clip_norm is not None:
        parts = [g[part] for part in optimizer.measured]
        counts = [-(-len(part) // CHUNK) for part in parts]
        sums, end = np.zeros(sum(counts)), 0
        for part, count in zip(parts, counts, strict=True):
            program.note("square_sums", (part, sums[end : end + count]), (len(part),))
            end += count
        program.note("clip", (sums,), (len(sums),), (settings.clip_norm,))
    for part, decay, factor in optimizer.regions:
        w, slots = run.network.values[part], [slot[part] for slot in optimizer.slots.values()]
        if isinstance(settings, Sgd):
            vectors = [w, *slots, g[part]]
            program.momentum(settings.form, vectors, settings.momentum, decay, factor)
        else:
            numbers = decay, settings.beta1, settings.beta2, settings.epsilon, factor
            program.adam([w, *slots, g[part]], settings.kind == "adamw", numbers)
    for part in optimizer.averages:
        arrays = run.network.values[part], g[part]
        program.note("averages", arrays, (len(g[part]),), (1.0 / rows,))
