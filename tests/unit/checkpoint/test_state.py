import json
from typing import Any

import pytest

from disttrain.checkpoint import Report, State


def report(step: int, loss: float | None) -> Report:
    return Report(step, step / 10, 0.1, 1.0, 0.5, loss, None, 0.0, 1.0, 1.0)


def run(losses: list[float | None], patience: int | None) -> tuple[State, list[bool]]:
    """Close an interval of ten steps for each loss until the state says to stop."""
    state, improved = State(), []
    for number, loss in enumerate(losses, 1):
        improved.append(state.close_interval(report(10 * number, loss), patience))
        if state.stopped_early:
            break
    return state, improved


@pytest.mark.parametrize(
    ("losses", "patience", "intervals", "best"),
    [
        ([3, 2, 2.5, 2.5, 2.5], 2, 4, 20),
        ([3, 2, 2.5, 1, 2, 2], 2, 6, 40),
        ([3, 3, 3], 2, 3, 10),
        ([3, 4, 2], 1, 2, 10),
        ([3, 4, 5, 6], None, 4, 10),
    ],
)
def test_patience_counts_intervals_since_the_best(
    losses: list, patience: int | None, intervals: int, best: int
) -> None:
    state, _ = run(losses, patience)
    assert (len(state.history), state.best_step) == (intervals, best)
    assert state.stopped_early is (patience is not None)


def test_only_a_lower_loss_is_an_improvement() -> None:
    assert run([3, 3, 2, 4], None)[1] == [True, False, True, False]


def test_without_validation_nothing_is_best() -> None:
    state, improved = run([None, None, None], 1)
    assert improved == [False] * 3
    assert state.best_loss is None
    assert not state.stopped_early


def test_an_interval_sums_its_steps_and_starts_anew() -> None:
    state = State()
    state.add(2.0, 3.0, 8.0, 0.5)
    state.add(1.0, 4.0, 5.0, 0.25)
    assert (state.step, state.loss, state.correct) == (2, 3.0, 7.0)
    assert (state.samples, state.seconds) == (13.0, 0.75)
    state.close_interval(report(2, 1.0), None)
    assert (state.step, state.loss, state.correct, state.samples, state.seconds) == (2, 0, 0, 0, 0)


def test_a_state_goes_through_json_unchanged() -> None:
    state, _ = run([3, 2, 2.5], 5)
    state.add(0.1 + 0.2, 1.0, 3.0, 1 / 3)
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_a_state_of_a_later_version_is_read() -> None:
    values: dict[str, Any] = State(step=3).to_json() | {"new": 1}
    assert State.from_json(values).step == 3
