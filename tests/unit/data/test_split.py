from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrain.data.split import set_aside


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=200),
    st.sampled_from(["0.05", "0.1", "0.29", "0.3", "0.5", "0.7", "0.9"]),
)
def test_the_parts_are_exact_stratified_and_cover(labels: list[int], fraction: str) -> None:
    targets = np.array(labels)
    kept, aside = set_aside(targets, float(fraction), seed=3)
    wanted, spare = int(Decimal(fraction) * len(targets)), len(targets) - len(set(labels))
    assert len(aside) == min(wanted, spare)
    assert set(targets[kept]) == set(labels)
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(aside) > 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, aside])), np.arange(len(targets)))
    for label in set(labels):
        share = float(fraction) * labels.count(label)
        # One row more or less, and what was given back to a class that would have lost all.
        given = sum(float(fraction) * labels.count(c) > labels.count(c) - 1 for c in set(labels))
        assert abs(int((targets[aside] == label).sum()) - share) < 1 + given + 1e-9


def test_the_split_follows_the_seed_alone() -> None:
    targets = np.arange(100) % 5
    _, first = set_aside(targets, 0.2, 1)
    _, again = set_aside(targets, 0.2, 1)
    _, other = set_aside(targets, 0.2, 2)
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_numbers_to_be_fitted_are_split_without_strata() -> None:
    targets = np.linspace(0, 1, 100).reshape(100, 1)
    kept, aside = set_aside(targets, 0.25, 1)
    assert (len(kept), len(aside)) == (75, 25)
    # Rows are drawn, not cut off at one end.
    assert 20 < aside.mean() < 80


@pytest.mark.parametrize("fraction", [0.0, 0.001])
def test_a_part_of_less_than_one_row_is_none(fraction: float) -> None:
    kept, aside = set_aside(np.zeros(100, int), fraction, 1)
    assert (len(kept), len(aside)) == (100, 0)


def test_a_class_of_one_row_is_trained_on_whatever_its_place() -> None:
    targets = np.repeat([0, 1, 2], [9, 1, 10])
    for seed in range(5):
        kept, aside = set_aside(targets, 0.1, seed)
        assert np.bincount(targets[kept], minlength=3).tolist()[1] == 1
        assert len(aside) == 2


def test_classes_of_one_row_each_leave_nothing_to_set_aside() -> None:
    kept, aside = set_aside(np.arange(10), 0.3, 1)
    assert (len(kept), len(aside)) == (10, 0)


def test_where_no_class_is_rare_the_split_is_what_it_has_always_been() -> None:
    _, aside = set_aside(np.arange(30) % 3, 0.2, 7)
    assert aside.tolist() == [2, 4, 9, 11, 15, 16]
