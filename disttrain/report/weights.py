"""The picture `weights.png` of a run: the weights of the first layer's units as images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from disttrain.data import in_words
from disttrain.report.figure import blank
from disttrain.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "image_shape", "sheet", "sheet_of", "why_not"]

NAME = "weights.png"
UNITS = 64


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    name, shape = subject.trained.network.names[0], subject.sample_shape
    weight = subject.trained.snapshot.parameters.get(f"{name}/weight")
    if weight is None or weight.ndim != 2:
        return "the first layer has no weight for each number of a sample"
    if image_shape(shape) is None:
        if len(shape) == 3 and shape[-1] in (3, 4):
            return f"a sample is an image in colours ({in_words(shape)}): only grey ones are drawn"
        return (
            f"a sample is {in_words(shape)}, and no image of height x width; where it is one, "
            "prepare the data with that shape"
        )
    return None


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    trained = subject.trained
    weight = trained.snapshot.parameters[f"{trained.network.names[0]}/weight"].astype(np.float64)
    alone = trained.network.names[1:] == [] and len(weight) == len(subject.class_names)
    what = f"{subject.title}: weights of the first layer's {len(weight)} units"
    sides = image_shape(subject.sample_shape) or (1, 1)
    return sheet_of(weight, sides, what, subject.class_names if alone else ())


def sheet_of(
    weight: np.ndarray, sides: tuple[int, int], what: str, names: Sequence[str] = ()
) -> Figure:
    """Return the rows of `weight` as images of height x width; the largest, where these are many.

    With `names` there is one for each row, and all are drawn.
    """
    height, width = sides
    norms = np.linalg.norm(weight, axis=1)
    shown = np.arange(len(weight)) if names else np.argsort(-norms, kind="stable")[:UNITS]
    tiles = weight[shown].reshape(-1, height, width)
    columns = math.ceil(math.sqrt(len(tiles) * height / width))
    rows = math.ceil(len(tiles) / columns)
    size = 0.95 if len(tiles) > 16 else 1.5
    figure = blank(columns * size + 1.2, rows * size * height / width + 0.8)
    ax = figure.subplots()
    # A quantile, so that a few very large weights do not make all others pale.
    largest = float(np.quantile(np.abs(tiles), 0.998)) or 1.0
    image = ax.imshow(
        sheet(tiles, columns), cmap="PuOr", vmin=-largest, vmax=largest, interpolation="nearest"
    )
    figure.colorbar(image, ax=ax, label="weight", extend="both", shrink=0.8)
    ax.set_axis_off()
    part = "" if len(shown) == len(weight) else f"\nthe {len(shown)} with the largest norm"
    ax.set_title(f"{what}{part}")
    for place, name in enumerate(names):
        x, y = place % columns * (width + 2), place // columns * (height + 2)
        ax.text(x, y - 0.5, name, fontsize=9, va="bottom")
    return figure


def image_shape(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return height and width of samples of `shape`, or None where they are no grey images."""
    sides = [n for n in shape if n != 1]
    return (sides[0], sides[1]) if len(sides) == 2 else None


def sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Return images of shape (count, height, width) as one, two empty pixels between them."""
    count, height, width = tiles.shape
    rows = math.ceil(count / columns)
    whole = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2), np.nan)
    for place, tile in enumerate(tiles):
        top, left = place // columns * (height + 2), place % columns * (width + 2)
        whole[top : top + height, left : left + width] = tile
    return whole
