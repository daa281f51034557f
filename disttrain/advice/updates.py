"""Whether a run has too few updates to learn, which is seen before it and after it."""

from __future__ import annotations

from disttrain.config import Settings
from disttrain.training.fitted import batch_for

__all__ = ["few_updates"]

# Fewer updates in all seldom are enough.
FEW = 100


def few_updates(
    settings: Settings, rows: int, steps_per_epoch: int, steps: int, early: bool = False
) -> str | None:
    """Return a sentence where a run on `rows` training rows has few updates, and how to get more.

    These are fewer than 100 `steps` in all, or, by mini-batches, one an epoch where smaller ones
    give more. More epochs are not advised to a run that stopped `early`, which did not use its own.
    """
    mini = settings.training.protocol == "mini-batch"
    batch = min(settings.training.batch_size or rows, rows)
    smaller, epochs = batch_for(rows), settings.training.epochs
    per_epoch = -(-rows // smaller)
    more_of = per_epoch > steps_per_epoch
    if steps >= FEW and not (mini and steps_per_epoch == 1 and more_of):
        return None
    of, each = f"{batch:,} row{'s' * (batch > 1)} a batch", f"{steps_per_epoch:,} an epoch"
    says = f"few updates: {of} are {each}, {steps:,} in all"
    if more_of and per_epoch * epochs > steps:
        most = "up to " if early else ""
        return f"{says}; {_smaller(mini, smaller)} gives {most}{per_epoch * epochs:,}"
    more = -(-2 * FEW // steps_per_epoch)
    if early or more <= epochs:
        return None
    return f"{says}; training.epochs = {more:,} gives {more * steps_per_epoch:,}"


def _smaller(mini: bool, batch: int) -> str:
    protocol = "" if mini else 'training.protocol = "mini-batch" with '
    return f"{protocol}training.batch_size = {batch}"
