"""Linear separability, against what is known of the sets and against a long-trained perceptron."""

from __future__ import annotations

import numpy as np
import pytest

from disttrain.advice.separability import separable

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("classes", [[0, 1, 1, 0], [1, 0, 0, 1]])
def test_xor_is_not(classes: list[int]) -> None:
    assert not separable(XOR, np.array(classes))


@pytest.mark.parametrize("number", [n for n in range(16) if n not in (6, 9)])
def test_all_other_functions_of_two_bits_are(number: int) -> None:
    assert separable(XOR, np.array([number >> bit & 1 for bit in range(4)]))


@pytest.mark.parametrize("seed", range(12))
def test_random_points_agree_with_a_perceptron(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((9, 3))
    classes = random.integers(0, 2, 9)
    w, mistakes = np.zeros(4), 1
    rows = (2 * classes - 1)[:, None] * np.c_[x, np.ones(9)]
    for _ in range(20_000):
        mistakes = 0
        for row in rows:
            if row @ w <= 0:
                w, mistakes = w + row, mistakes + 1
        if not mistakes:
            break
    assert separable(x, classes) == (mistakes == 0)


@pytest.mark.parametrize("flip", [False, True])
def test_many_points_with_a_thin_margin(flip: bool) -> None:
    random = np.random.default_rng(3)
    x = random.uniform(-1, 1, (3000, 2))
    score = x @ [2, -1] + 0.3
    x, score = x[np.abs(score) > 1e-3], score[np.abs(score) > 1e-3]
    classes = (score > 0).astype(int)
    if flip:
        deep = int(score.argmax())
        classes[deep] = 0
    assert separable(x, classes) is not flip


def test_two_equal_points_of_different_class_are_not() -> None:
    assert not separable(np.array([[1.0, 2], [1, 2]]), np.array([0, 1]))
