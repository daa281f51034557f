import math

import pytest

from disttrain.config import parse
from disttrain.config.kinds import Step
from disttrain.training.schedules import learning_rate

PER_EPOCH, TOTAL = 7, 140
# Steps at the borders of epochs 1, 5 and 10, and in between.
STEPS = [0, 1, 6, 7, 8, 34, 35, 36, 69, 70, 71, 139]
FORMULAS = {
    "constant": lambda t, s: 0.4,
    "step": lambda t, s: 0.4 * 0.3 ** math.floor(s / (5 * PER_EPOCH)),
    "exponential": lambda t, s: 0.4 * math.exp(-0.2 * t),
    "inverse-time": lambda t, s: 0.4 / (1 + 0.2 * t),
    "cosine": lambda t, s: 0.01 + (0.4 - 0.01) * (1 + math.cos(math.pi * s / TOTAL)) / 2,
}

OWN = {
    "step": {"factor": 0.3},
    "exponential": {"k": 0.2},
    "inverse-time": {"k": 0.2},
    "cosine": {"final_rate": 0.01},
}


def rate(kind: str, step: int, **more: float) -> float:
    keys = (
        {"kind": f"'{kind}'", "learning_rate": 0.4, "warmup_epochs": 0} | OWN.get(kind, {}) | more
    )
    text = "data.path = 'a'\nmodel.layers = [{ units = 1 }]\n"
    changes = [f"schedule.{key}={value}" for key, value in keys.items()]
    return learning_rate(parse(text, changes).schedule, step, PER_EPOCH, TOTAL)


@pytest.mark.parametrize("kind", FORMULAS)
@pytest.mark.parametrize("step", STEPS)
def test_each_schedule_is_its_formula(kind: str, step: int) -> None:
    assert rate(kind, step) == pytest.approx(FORMULAS[kind](step / PER_EPOCH, step), rel=1e-14)


def test_steps_fall_exactly_at_the_border_of_an_epoch() -> None:
    """Counted in whole steps: 5 epochs of 3 steps must not end a step late by rounding."""
    schedule = Step(learning_rate=1.0, factor=0.5, every_epochs=5)
    for per_epoch in range(1, 60):
        border = 5 * per_epoch
        assert learning_rate(schedule, border - 1, per_epoch, 1000) == 1.0
        assert learning_rate(schedule, border, per_epoch, 1000) == 0.5


@pytest.mark.parametrize("kind", FORMULAS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("epochs", [1.0, 2.5, 10.0])
def test_warm_up_multiplies_by_a_line_that_ends_at_1(kind: str, step: int, epochs: float) -> None:
    steps = epochs * PER_EPOCH
    want = FORMULAS[kind](step / PER_EPOCH, step) * min((step + 1) / steps, 1)
    assert rate(kind, step, warmup_epochs=epochs) == pytest.approx(want, rel=1e-14)


def test_warm_up_begins_above_0_and_ends_with_its_last_step() -> None:
    assert rate("constant", 0, warmup_epochs=1) == pytest.approx(0.4 / PER_EPOCH)
    assert rate("constant", PER_EPOCH - 2, warmup_epochs=1) < 0.4
    assert rate("constant", PER_EPOCH - 1, warmup_epochs=1) == 0.4


def test_cosine_begins_at_the_rate_and_goes_down_all_the_way() -> None:
    rates = [rate("cosine", step) for step in range(TOTAL)]
    assert rates[0] == 0.4
    assert rates == sorted(rates, reverse=True)
    assert 0.01 < rates[-1] < 0.0101
