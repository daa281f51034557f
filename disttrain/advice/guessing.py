"""The score of guessing: of always giving the same answer, whatever the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disttrain.data import Dataset

__all__ = ["Guess", "guess"]


@dataclass(frozen=True)
class Guess:
    """The score of the best answer that does not depend on the inputs, on the `rows` of one split.

    `answer` is that answer in words; `accuracy` is None where targets are numbers, `loss` is None
    for a loss function that is not built in.
    """

    answer: str
    rows: int
    loss: float | None
    accuracy: float | None


def guess(dataset: Dataset, split: str, loss: str) -> Guess:
    """Return the score of guessing on `split`, with the best answer for the training rows.

    Classes: always the most frequent class; as probabilities the frequencies of all K classes,
    `p_k = (n_k + 1) / (n + K)` (Laplace's, so that none is 0). Then the softmax loss is the mean of
    `-log p_y`, the squared loss that of `Σ (p - onehot(y))²`. Numbers: always the mean of each
    output, with the squared loss `Σ (mean - y)²`.
    """
    train, targets = dataset.splits["train"].targets, dataset.splits[split].targets
    if not dataset.classes:
        away = np.square(targets - train.mean(axis=0)).reshape(len(targets), -1).sum(axis=1)
        known = float(away.mean()) if loss == "squared" else None
        return Guess("the mean of the training targets", len(targets), known, None)
    counts = np.bincount(train, minlength=dataset.classes)
    p = (counts + 1) / (len(train) + dataset.classes)
    most = int(counts.argmax())
    name = dataset.class_names[most] if dataset.class_names else f"class {most}"
    losses = {
        "softmax": -np.log(p)[targets],
        "squared": 1 - 2 * p[targets] + np.square(p).sum(),
    }
    known = float(losses[loss].mean()) if loss in losses else None
    accuracy = float((targets == most).mean())
    return Guess(f"{name}, the most frequent class", len(targets), known, accuracy)
