"""TPE by Optuna: the same suggestions after a restart, and better ones than at random."""

import pytest

pytest.importorskip("optuna")

from disttrain.config import Range
from disttrain.selection import tpe
from disttrain.selection.space import axes_of, random

AXES = axes_of({
    "rate": Range(low=1e-5, high=1e-1, scale="log"),
    "units": Range(low=8, high=64),
    "name": Range(choices=("relu", "tanh")),
})  # fmt: skip


def score(one):
    return -abs(one["units"] - 40) - 100 * abs(one["rate"] - 1e-2) - 10 * (one["name"] == "tanh")


def generations(count):
    told = []
    for number in range(count):
        new = tpe.suggest(AXES, told, 8, (1, 1, 8 * number), rises=True)
        told += [(one, None if one["units"] == 8 else score(one)) for one in new]
    return told


def test_a_generation_depends_on_what_was_told_and_its_number_alone():
    told = generations(3)
    assert tpe.suggest(AXES, told[:16], 8, (1, 1, 16), True) == [one for one, _ in told[16:]]
    assert tpe.suggest(AXES, told[:16], 8, (2, 1, 16), True) != [one for one, _ in told[16:]]


def test_it_finds_more_than_as_many_random_draws():
    found = max(value for _, value in generations(5) if value is not None)
    assert found > max(score(random(AXES, 1, 1, number)) for number in range(40))
