from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from disttrain.advice.range_test import LOW_HIGH, judged, parse_range, range_test
from disttrain.errors import UsageError
from disttrain.training import Run, fit

Build = Callable[..., Run]


def test_rates_rise_exponentially_until_the_loss_breaks(build: Build) -> None:
    run = build("data.normalize=standardize", "model.loss=squared")
    before, digest = run.host_values(), run.digest()
    found = range_test(run, 1e-5, 1e3)
    rates = [point.rate for point in found.points]
    np.testing.assert_allclose(np.diff(np.log(rates)), np.log(1e8) / 119)
    assert rates[0] == pytest.approx(1e-5)
    assert found.diverged_at is not None
    assert len(rates) < 119
    assert rates[-1] <= found.diverged_at < 1e3
    assert found.steepest < found.largest_stable < found.diverged_at
    # Everything is as it was.
    assert (run.host_values() == before).all()
    assert run.digest() == digest


def test_what_it_suggests_trains_and_what_broke_does_not(build: Build) -> None:
    found = range_test(build("data.normalize=standardize"), *LOW_HIGH)
    run = build("data.normalize=standardize", f"schedule.learning_rate={found.steepest}")
    fit(run)
    assert run.state.history[-1]["validation_accuracy"] == 1


def test_the_same_points_each_time_and_after_each_other(build: Build) -> None:
    run = build()
    assert range_test(run, 1e-4, 1.0) == range_test(run, 1e-4, 1.0) == range_test(build(), 1e-4, 1)


def test_rates_that_do_nothing_suggest_nothing(build: Build) -> None:
    found = range_test(build(), 1e-12, 1e-9, steps=30)
    assert len(found.points) == 30
    assert (found.steepest, found.largest_stable, found.diverged_at) == (None, None, None)


def test_the_rule_on_a_curve_that_is_known() -> None:
    """A loss that falls linearly in the logarithm, twice as fast in the middle, then breaks."""
    rates = [10.0**n for n in range(-20, 10)]
    falls = [0.0] * 8 + [-1.0] * 4 + [-2.0] * 4 + [-1.0] * 4 + [3.0] * 10
    losses = [100.0, *(100 + np.cumsum(falls))]
    found = judged(rates, losses, broken=True)
    assert [p.loss for p in found.points] == losses[1:]
    assert found.points[4].smoothed == pytest.approx(np.mean(losses[1:10]))
    assert rates[12] <= found.steepest <= rates[15]
    assert rates[15] <= found.largest_stable <= rates[19]
    assert found.diverged_at == rates[-1]


def test_the_noise_of_batches_does_not_choose_the_rate() -> None:
    """A loss that falls from 1e-3 on, under noise that falls faster for a few steps."""
    random = np.random.default_rng(0)
    rates = np.geomspace(1e-5, 10, 120)
    falls = np.clip(1.1 - 0.45 * np.log10(np.maximum(rates, 1e-3) / 1e-3), 0.2, None)
    for _ in range(20):
        losses = [1.1, *(falls + random.normal(0, 0.15, 120))]
        found = judged(rates.tolist(), losses, broken=False)
        assert found.steepest is not None
        assert found.steepest > 5e-4


def test_a_loss_that_breaks_at_once() -> None:
    assert judged([1.0, 2.0], [1.0], broken=True).diverged_at == 1.0
    with pytest.raises(UsageError, match="not finite before any update"):
        judged([1.0, 2.0], [], broken=True)


def test_ranges() -> None:
    assert parse_range(None) == LOW_HIGH
    assert parse_range("1e-3:2") == (1e-3, 2.0)
    for text in ("1", "2:1", "0:1", "a:b", "1:2:3", "1:inf", "nan:1", "-1:1"):
        with pytest.raises(UsageError, match="LOW:HIGH"):
            parse_range(text)


def test_a_perceptron_is_refused(build: Build, write_data: Callable[..., str]) -> None:
    path = write_data("two.h5", train=(np.arange(20.0).reshape(10, 2), np.arange(10) % 2))
    run = build(f"data.path={path}", "model.loss=perceptron",
                'model.layers=[{units=1, activation="sign"}]')  # fmt: skip
    with pytest.raises(UsageError, match="perceptron"):
        range_test(run, *LOW_HIGH)
