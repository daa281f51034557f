"""Dropout: which units are left out depends on the row in the global batch, not on the rank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace, field
from disttrain.model import Context, Dense, Dropout, Network, Pass


def context(training: bool = True, step: int = 0, first_row: int = 0) -> Context:
    pass_ = Pass(training, step, first_row)
    return Context("dropout2", Cpu(), "float64", Workspace(Cpu().empty), {}, seed=1, pass_=pass_)


def test_a_row_of_the_field_does_not_depend_on_the_range_it_is_drawn_with() -> None:
    whole = field(10, 37, 0, 1, "dropout", 5)
    parts = [field(3, 37, 0, 1, "dropout", 5), field(7, 37, 3, 1, "dropout", 5)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(whole, field(10, 37, 0, 1, "dropout", 6))
    assert not np.array_equal(whole, field(10, 37, 0, 2, "dropout", 5))
    assert len({row.tobytes() for row in whole}) == 10, "rows differ from each other"


def test_the_field_is_pinned() -> None:
    # A change here changes every run with dropout.
    assert field(2, 3, 4, 1, "dropout", 0).tolist() == [[2504, 61266, 40262], [20447, 30456, 16891]]


def test_shares_of_a_batch_have_the_masks_of_the_whole() -> None:
    x = np.ones((12, 50))
    whole = Dropout(0.4).forward(x, context(step=3))[0].copy()
    for cuts in ([0, 12], [0, 5, 12], [0, 1, 1, 4, 12]):
        parts = [
            Dropout(0.4).forward(x[a:b], context(step=3, first_row=a))[0].copy()
            for a, b in itertools.pairwise(cuts)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_expected_output_is_the_input(rate: float) -> None:
    y = Dropout(rate).forward(np.ones((2000, 64)), context())[0]
    assert set(np.unique(y.round(3))) <= {0.0, round(float(y.max()), 3)}
    assert (y == 0).mean() == pytest.approx(rate, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.02)


def test_backward_uses_the_same_mask_and_prediction_none() -> None:
    x = np.ones((8, 20))
    y, backward = Dropout(0.5).forward(x, context())
    np.testing.assert_array_equal(backward(np.ones_like(x)), y)
    assert Dropout(0.5).forward(x, context(training=False))[0] is x


def test_in_a_network_only_training_drops() -> None:
    network = Network([Dense(30, "relu"), Dropout(0.5), Dense(2)], (4,), "float64", Cpu(), seed=1)
    x = np.random.default_rng(0).standard_normal((6, 4))
    first = network.forward(x, Pass())[0].copy()
    assert not np.allclose(first, network.predict(x))
    np.testing.assert_array_equal(network.forward(x, Pass())[0], first)
    assert not np.allclose(network.forward(x, Pass(step=1))[0], first)


def test_images_are_dropped_as_the_same_numbers_stored_flat() -> None:
    x = np.arange(1.0, 5 * 6 * 7 + 1).reshape(5, 6, 7)
    y, backward = Dropout(0.5).forward(x, context(step=2, first_row=3))
    flat = Dropout(0.5).forward(x.reshape(5, 42), context(step=2, first_row=3))[0]
    np.testing.assert_array_equal(y, flat.reshape(x.shape))
    assert backward(np.ones_like(x)).shape == x.shape
