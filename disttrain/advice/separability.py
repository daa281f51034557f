"""Whether two classes are linearly separable, for the report of a perceptron's training."""

from __future__ import annotations

import numpy as np

from disttrain.model import Perceptron
from disttrain.training.run import Run

__all__ = ["perceptron_says", "separable"]

# More samples than this are not examined: the proof takes a matrix of all of them.
LARGEST = 20_000
TOLERANCE = 1e-8


def perceptron_says(run: Run) -> list[str]:
    """Return what the end of a perceptron's training means, as sentences; [] for other losses.

    For rank 0, which reads the training rows alone.
    """
    if not isinstance(run.loss, Perceptron):
        return []
    train, epochs = run.dataset.splits["train"], f"{run.epoch:.4g} epochs"
    if run.state.reason == "separated":
        return [
            f"the classes are linearly separable: after {epochs} the perceptron makes no mistake "
            f"on the {train.count} training samples"
        ]
    if train.count > LARGEST:
        return [
            f"after {epochs} the perceptron still makes mistakes: the classes may not be separable"
        ]
    inputs, classes = run.feed(train, np.arange(train.count))
    host = run.network.device.get(inputs).astype(np.float64)
    if separable(host, run.network.device.get(classes)):
        return [f"a line separates the classes, but {epochs} did not find it: give it more"]
    return [
        "the classes are not linearly separable, as XOR is not: every line makes mistakes, however "
        "long it trains; a hidden layer can learn them"
    ]


def separable(inputs: np.ndarray, classes: np.ndarray) -> bool:
    """Return whether some `w`, `b` have `y (w x + b) > 0` for all rows, `y = ±1` for class 1, 0.

    There is none exactly when a mixture of the rows `y (x, 1)` is zero: `λ >= 0` with `Σ λ = 1` and
    `Σ λ y (x, 1) = 0` (Gordan, 1873). The mixture that is nearest to zero is found by non-negative
    least squares (Lawson and Hanson, 1974).
    """
    signed = np.where(classes == 1, 1.0, -1.0)[:, None] * np.c_[inputs, np.ones(len(inputs))]
    signed /= np.maximum(np.linalg.norm(signed, axis=1, keepdims=True), 1e-300)
    matrix = np.vstack([signed.T, np.ones(len(signed))])
    target = np.zeros(len(matrix))
    target[-1] = 1.0
    return _distance(matrix, target) > TOLERANCE


def _distance(matrix: np.ndarray, target: np.ndarray) -> float:
    """Return the least `‖matrix λ - target‖` over `λ >= 0`."""
    weights, chosen = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], bool)
    residual = target.copy()
    for _ in range(3 * matrix.shape[1]):
        pull = np.where(chosen, -np.inf, matrix.T @ residual)
        best = int(pull.argmax())
        if pull[best] <= 1e-12:
            break
        chosen[best] = True
        while chosen.any():
            trial = np.zeros_like(weights)
            trial[chosen] = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
            bad = chosen & (trial <= 0)
            if not bad.any():
                weights = trial
                break
            # Go towards the trial until the first weight is zero, and remove it.
            reach = (weights[bad] / (weights[bad] - trial[bad])).min()
            weights += reach * (trial - weights)
            chosen &= weights > 1e-14
            weights[~chosen] = 0.0
        residual = target - matrix @ weights
    return float(np.linalg.norm(residual))
