"""Learning-rate schedules: functions of the step, so there is nothing to save."""

from __future__ import annotations

import math

from disttrain.config import Schedule

__all__ = ["learning_rate"]


def learning_rate(schedule: Schedule, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Return the rate of update `step` (the first is 0); `t = step / steps_per_epoch` in epochs.

    constant `α`; step `α factor^floor(t / every_epochs)`; exponential `α e^(-k t)`; inverse-time
    `α / (1 + k t)`; cosine from `α` down to `final_rate` over the run (Loshchilov and Hutter,
    2017); rates: that of the epoch. During the first `warmup_epochs` it is multiplied by a line
    from `1/w` to 1, where `w` is their number of steps (Goyal et al., 2017).
    """
    t = step / steps_per_epoch
    rate = schedule.learning_rate
    if schedule.kind == "step":
        rate *= schedule.factor ** (step // (schedule.every_epochs * steps_per_epoch))
    elif schedule.kind == "exponential":
        rate *= math.exp(-schedule.k * t)
    elif schedule.kind == "inverse-time":
        rate /= 1 + schedule.k * t
    elif schedule.kind == "rates":
        rate = schedule.rates[min(step // steps_per_epoch, len(schedule.rates) - 1)]
    elif schedule.kind == "cosine":
        part = step / max(total_steps, 1)
        rate = schedule.final_rate + (rate - schedule.final_rate) * (
            0.5 * (1 + math.cos(math.pi * part))
        )
    warmup = schedule.warmup_epochs * steps_per_epoch
    return rate * min((step + 1) / warmup, 1.0) if warmup else rate
