"""Predicted steps against the formulas in the prediction's own docstring, worked out by hand."""

import math

import pytest

from disttrain.bench.prediction import EFFICIENT, Machine, predict
from disttrain.bench.sums import Link, SumTimes

# 1 ms of its own, and 10 us a row.
LINEAR = {rows: 1e-3 + 1e-5 * rows for rows in (1, 8, 64)}


def machine(latency: float = 0.0, bandwidth: float = math.inf, message: int = 10**6) -> Machine:
    return Machine(LINEAR, message, Link(latency, bandwidth))


@pytest.mark.parametrize("rows", [1, 3, 8, 40, 64, 1000])
def test_compute_lies_on_the_line_of_the_measured_steps_and_goes_on_beyond_them(rows: int) -> None:
    assert machine().compute_time(rows) == pytest.approx(1e-3 + 1e-5 * rows)


def test_less_than_one_row_takes_as_long_as_one() -> None:
    assert machine().compute_time(0.25) == machine().compute_time(1)


def test_one_measured_number_of_rows_is_taken_in_proportion() -> None:
    assert Machine({64: 0.064}, 8, Link(0, 1)).compute_time(128) == pytest.approx(0.128)


def test_a_step_that_got_no_shorter_with_fewer_rows_is_never_predicted_to_get_longer() -> None:
    odd = Machine({1: 2e-3, 8: 1e-3}, 8, Link(0, 1))
    assert odd.compute_time(100) >= 1e-3


@pytest.mark.parametrize(
    ("ranks", "messages"), [(1, 0), (2, 1), (3, 2), (4, 2), (8, 3), (4096, 12)]
)  # fmt: skip
def test_the_sum_takes_two_messages_a_round_and_the_bytes_of_the_bound(
    ranks: int, messages: int
) -> None:
    slow = machine(latency=1e-3, bandwidth=1e9)
    sent = 2 * (ranks - 1) / ranks * 1e6 / 1e9
    assert slow.sum_time(ranks, 64) == pytest.approx(2 * messages * 1e-3 + sent)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4096])
def test_shared_products_send_rows_by_the_sample_and_each_gradient_once(ranks: int) -> None:
    shares = Machine(LINEAR, 10**6, Link(1e-3, 1e9), shared=5000)
    sent = (ranks - 1) / ranks * (128 * 5000 + 10**6) / 1e9
    assert shares.sum_time(ranks, 128) == pytest.approx((4e-3 + sent) * (ranks > 1))


def test_efficiency_is_one_without_costs_and_falls_with_the_network() -> None:
    free = Machine({1: 1e-4, 2: 2e-4}, 10**6, Link(0, math.inf))
    assert free.efficiency(8, 64) == pytest.approx(1)
    costly = Machine(free.compute, 10**6, Link(1e-3, 1e9))
    assert costly.efficiency(8, 64) == pytest.approx(6.4e-3 / 8 / (8e-4 + costly.sum_time(8, 64)))


def test_the_best_batch_is_the_smallest_power_of_two_that_is_efficient() -> None:
    one = machine(latency=1e-4, bandwidth=1e9)
    for row in predict(one, 128, [2, 16, 4096]):
        assert row.best_batch is not None
        assert one.efficiency(row.ranks, row.best_batch) >= EFFICIENT
        assert one.efficiency(row.ranks, row.best_batch // 2) < EFFICIENT
        assert row.samples_per_second == pytest.approx(128 / row.seconds)


def test_where_no_batch_is_efficient_there_is_none() -> None:
    assert machine(latency=1e6).best_batch(2) is None


def test_bus_bandwidth_and_the_share_of_the_bound_are_those_of_the_literature() -> None:
    # 4 ranks, 1 MB: 1.5 MB a rank have to be sent, and (4+1)/4 of a copy read and written.
    times = SumTimes(4, 10**6, {"ring": 3e-3, "window": 1e-3}, passed=1e-3, copied=0.8e-3)
    assert times.bus_bandwidth("ring") == pytest.approx(1.5e6 / 3e-3)
    assert times.share("ring") == pytest.approx(1.5e-3 / 3e-3)
    assert times.share("window") == pytest.approx(0.5)
