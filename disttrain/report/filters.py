"""The picture `filters.png` of a run whose first layer is a convolution: its filters as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.report.subject import Subject
from disttrain.report.weights import sheet_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "first_filters", "why_not"]

NAME = "filters.png"


def first_filters(subject: Subject) -> np.ndarray | None:
    """Return the filters of the first layer, (height, width, channels, filters), if it has some."""
    parts = subject.trained.snapshot.parameters
    weight = parts.get(f"{subject.trained.network.names[0]}/weight")
    return weight if weight is not None and weight.ndim == 4 else None


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    return "the first layer has no filters" if first_filters(subject) is None else None


def figure(subject: Subject) -> Figure:
    """Return the picture: a tile for each filter and channel."""
    weight = first_filters(subject)
    assert weight is not None
    height, width, channels, filters = weight.shape
    tiles = weight.transpose(3, 2, 0, 1).reshape(filters * channels, -1).astype(np.float64)
    of = f" of {channels} channels" if channels > 1 else ""
    what = f"{subject.title}: the first layer's {filters} filters{of}"
    return sheet_of(tiles, (height, width), what)
