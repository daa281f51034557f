"""The samples that a network is most confidently wrong about."""

from __future__ import annotations

import numpy as np

from disttrain.report.page import Images, Table, image
from disttrain.report.subject import Subject

__all__ = ["MOST", "wrong"]

MOST = 24
# Numbers of a sample that is no image that are shown.
NUMBERS = 6


def wrong(
    subject: Subject, inputs: np.ndarray, targets: np.ndarray, outputs: np.ndarray
) -> Images | Table | None:
    """Return the samples with the largest share for a wrong class; None where there are none.

    `outputs` are the predictions: probabilities of classes for the softmax loss.
    """
    taken = outputs.argmax(axis=1)
    share = outputs[np.arange(len(outputs)), taken]
    mistakes = np.flatnonzero(taken != targets)
    if not len(mistakes):
        return None
    chosen = mistakes[np.argsort(-share[mistakes], kind="stable")][:MOST]
    names = [*subject.class_names, *map(str, range(len(subject.class_names), outputs.shape[1]))]
    shape = tuple(n for n in subject.sample_shape if n != 1)
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[-1] == 3)
    if is_image and min(shape[:2]) > 1:
        return Images([
            (
                image(inputs[row].reshape(shape)),
                f"{names[targets[row]]}, taken for {names[taken[row]]} ({share[row]:.3f}), "
                f"row {row}",
            )
            for row in chosen
        ])  # fmt: skip
    return Table(
        ["row", "true", "taken for", "share", "first numbers"],
        [
            (
                row, names[targets[row]], names[taken[row]], f"{share[row]:.3f}",
                ", ".join(f"{x:.4g}" for x in np.ravel(inputs[row])[:NUMBERS]),
            )
            for row in chosen
        ],
    )  # fmt: skip
