"""What `check` says of samples and targets that are likely another kind of thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.advice.kinds import odd_kinds
from disttrain.errors import DataError, RunFileError
from disttrain.training import Run

Build = Callable[..., Run]
ROWS = 60
X, Y = np.random.default_rng(2).normal(size=(ROWS, 4)), np.arange(ROWS) % 3
CONV = "model.layers=[{kind='conv',filters=2,size=3},{units=3}]"
ONE_HOT = np.eye(3)[Y]


@pytest.mark.parametrize(
    ("x", "y", "layers", "word"),
    [
        (np.zeros((ROWS, 3, 8, 8)), Y, CONV, "3 x 8 x 8 = 192 numbers, which looks like an image"),
        (np.zeros((ROWS, 8, 8, 3)), Y, CONV, None),
        (np.zeros((ROWS, 3, 8, 8)), Y, "model.layers=[{units=3}]", None),
        (X, ONE_HOT, "model.layers=[{units=3}]", "rows of a single 1 among 3 columns"),
        (X, ONE_HOT + 0.5, "model.layers=[{units=3}]", None),
        (
            X,
            Y[:, None] * 1.0,
            "model.layers=[{units=1}]",
            "3 different whole numbers and are fitte",
        ),
        (X, Y[:, None] / 2, "model.layers=[{units=1}]", None),
    ],
)
def test_what_looks_like_another_kind_is_said(
    build: Build, write_data: Callable[..., str], x: Any, y: Any, layers: str, word: str | None
) -> None:
    path = write_data("odd.h5", train=(x, y))
    loss = "model.loss=squared" if y.dtype.kind == "f" else "model.loss=softmax"
    said = odd_kinds(build(f"data.path={path}", layers, loss))
    assert [word in line for line in said] == ([] if word is None else [True])


def test_classes_of_test_rows_alone_are_said(build: Build, write_data: Callable[..., str]) -> None:
    path = write_data("odd.h5", train=(X, Y), test=(X[:2], np.array([0, 5])))
    (said,) = odd_kinds(build(f"data.path={path}", "model.layers=[{units=6}]"))
    assert said == "test has rows of classes without a training row: 5"


def test_classes_counted_from_1_in_training_and_from_0_in_test_are_refused(
    build: Build, write_data: Callable[..., str]
) -> None:
    path = write_data("odd.h5", train=(X, Y + 1), test=(X, Y))
    with pytest.raises(DataError, match=r"of train count from 1 \(1 to 3\), but those of test"):
        build(f"data.path={path}", "model.layers=[{units=3}]")


@pytest.mark.parametrize("labels", [np.arange(ROWS) % 2, np.arange(ROWS) % 4, np.zeros(ROWS, int)])
def test_classes_that_are_not_certainly_counted_otherwise_still_open(
    build: Build, write_data: Callable[..., str], labels: np.ndarray
) -> None:
    path = write_data("odd.h5", train=(X, Y + 1), test=(X, labels))
    (said,) = odd_kinds(build(f"data.path={path}", "model.layers=[{units=4}]"))
    assert said == "test has rows of classes without a training row: 0"


def test_a_training_on_rows_of_a_single_1_says_that_it_fitted_numbers() -> None:
    model = disttrain.train(disttrain.Data(X, ONE_HOT), layers=[3], epochs=3, progress=False)
    said = " ".join(model.summary["diagnosis"])
    assert "if they are classes, give the number of the column" in said
    with pytest.raises(DataError, match=r"y\.argmax\(axis=1\)"):
        disttrain.train(disttrain.Data(X, ONE_HOT.astype(int)), layers=[3], epochs=1)


def test_a_single_unit_for_two_classes_is_explained() -> None:
    wrong = r"has 1 unit, but the targets .* are 2 classes: give it units = 2, one for each class"
    with pytest.raises(RunFileError, match=wrong):
        disttrain.train(disttrain.Data(X, Y % 2), layers=[1], epochs=1)
