"""Losses of disttrain's own that are given as objects: refused where they do not fit the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.arrays.recording import NotRecordable, Program
from disttrain.comm.alone import Alone
from disttrain.errors import RunFileError
from disttrain.model import Dense, Loss, Perceptron, Softmax, Squared
from disttrain.model.losses import SquaredInUnits, WeightedSoftmax
from disttrain.training.recorded.losses import note_loss

CLASSES, NUMBERS = np.arange(60) % 10, np.ones((60, 1))
NEEDS = "the last layer has 3 units, but the targets of .*"
TEN = NEEDS + "are 10 classes: give it units = 10"
OTHER = r"was given numbers of shape \(2,\), but the targets of .*: give it an array of "
# The loss, the targets, what is said of 3 units.
CASES: list[tuple[Loss, Any, str]] = [
    (Softmax(), CLASSES, TEN),
    (WeightedSoftmax(), CLASSES, TEN),
    (WeightedSoftmax(smoothing=0.1), CLASSES, TEN),
    (WeightedSoftmax(np.ones(2)), CLASSES % 3, OTHER),
    (Squared(), CLASSES, TEN),
    (Squared(), NUMBERS, NEEDS + "are 1 numbers a sample: give it units = 1"),
    (SquaredInUnits(np.ones(3)), CLASSES % 3, "SquaredInUnits is for numbers"),
    (SquaredInUnits(np.ones(1)), NUMBERS, NEEDS),
    (SquaredInUnits(np.ones(2)), NUMBERS, OTHER),
    (Perceptron(), CLASSES % 2, 'one unit with activation = "sign"'),
    (Perceptron(), CLASSES, "a perceptron tells two classes apart"),
]


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize(("loss", "targets", "said"), CASES)
def test_a_loss_that_does_not_fit_is_refused_in_a_sentence(
    loss: Loss, targets: np.ndarray, said: str, mode: str
) -> None:
    data = disttrain.Data(np.ones((60, 4)) * np.arange(60)[:, None], targets)
    with pytest.raises(RunFileError, match=said):
        disttrain.train(data, layers=[Dense(3)], loss=loss, mode=mode, comm=Alone())


@pytest.mark.parametrize(("loss", "targets", "said"), CASES[3:4] + CASES[5:9])
def test_what_is_beyond_an_array_is_not_recorded(
    build: Any, loss: Loss, targets: np.ndarray, said: str
) -> None:
    outputs = np.ones((60, 2 if isinstance(loss, Squared) else 3), "f4")
    with pytest.raises(NotRecordable, match="do not fit the outputs"):
        note_loss(Program("float32"), loss, outputs, targets, build().loss_context)


def test_classes_without_an_output_are_not_recorded(build: Any) -> None:
    """As after a callback that changed them: numpy then says so."""
    run = build()
    run.dataset.splits["train"].targets[:] = 3
    assert run.recordings.of(0) is None
