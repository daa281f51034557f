"""Noting the update of all weights on a GPU, as `Optimizer.step` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.config import Sgd

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["note_update"]


def note_update(program: Any, run: Run) -> None:
    """Note the update; parts that are neighbours in one launch."""
    settings, optimizer, g = run.settings.optimizer, run.optimizer, run.work.reducer.totals
    if settings.clip_norm is not None:
        program.clip([g[part] for part in optimizer.measured], settings.clip_norm)
    for part, decay, decayed, factor in merged(optimizer.regions):
        vectors = [run.network.values[part], *(s[part] for s in optimizer.slots.values()), g[part]]
        if isinstance(settings, Sgd):
            program.momentum(settings.form, vectors, settings.momentum, decay, decayed, factor)
        else:
            program.adam(
                vectors, settings.kind == "adamw", decay, settings.beta1, settings.beta2,
                settings.epsilon, decayed, factor,
            )  # fmt: skip
    for part in optimizer.averages:
        program.averages(run.network.values[part], g[part])


def merged(regions: Any) -> list[tuple[slice, float, int, float]]:
    """Return parts of the weights, the decay of each, how many of its first numbers decay, and what
    the rate is multiplied by.
    """
    found: list[tuple[slice, float, int, float]] = []
    for part, decay, factor in regions:
        before = found[-1] if found else None
        if before and before[0].stop == part.start and decay == 0 and before[3] == factor:
            found[-1] = slice(before[0].start, part.stop), *before[1:]
        else:
            found.append((part, decay, part.stop - part.start, factor))
    return found
