"""The picture `features.png`: what the first layer's units looked for after pre-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.report.reconstructions import learned
from disttrain.report.subject import Subject
from disttrain.report.weights import image_shape, sheet_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "why_not"]

NAME = "features.png"


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    if not learned(subject):
        return "no network of units was pre-trained"
    return None if image_shape(subject.sample_shape) else "the samples are not grey images"


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    encoder, _ = learned(subject)[0]
    (weight,) = (w for key, w in encoder.tensors(encoder.values).items() if key.endswith("weight"))
    sides = image_shape(subject.sample_shape) or (1, 1)
    what = f"{subject.title}: weights of the first layer's {len(weight)} units after pre-training"
    return sheet_of(weight.astype(np.float64), sides, what)
