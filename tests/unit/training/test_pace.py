"""Stragglers: who holds the others up, in which kind of work, by how much."""

import pytest

from disttrain.training.pace import lags


def own(*pairs):
    return [{"reading": r, "computing": c} for r, c in pairs]


def test_nothing_in_a_balanced_run():
    assert lags(own((0.1, 9.0))) == []
    assert lags(own((0.1, 2.0), (0.2, 2.1), (0.1, 1.9), (0.1, 2.2))) == []


@pytest.mark.parametrize(
    ("ranks", "kind"),
    [([(0.1, 1.0), (0.1, 1.1), (0.1, 3.0)], "computing"), ([(0.1, 1.0), (2.1, 1.0)], "reading")],
)
def test_the_one_that_takes_longer_and_in_what(ranks, kind):
    (one,) = lags(own(*ranks))
    assert one["rank"] == len(ranks) - 1
    assert one["in"] == kind
    assert one["of_seconds"] == pytest.approx(sum(ranks[-1]))
    assert one["seconds"] == pytest.approx(1.95 if kind == "computing" else 2.0)


def test_a_moment_says_nothing():
    assert lags(own((0.0, 0.01), (0.0, 0.2))) == []
