"""The picture `confusion.png` of a run: the confusion matrix, counts and rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.report.figure import blank
from disttrain.report.subject import Subject, decided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "matrix", "why_not"]

NAME = "confusion.png"
# With more classes the cells are too small for numbers.
WRITTEN = 20


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    if not subject.facts["classes"]:
        return "the targets are numbers, not classes"
    return None if subject.held_out else "the data have neither a test nor a validation split"


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    samples = subject.samples(subject.held_out or "")
    counts = matrix(samples.targets, decided(subject.trained, samples.inputs)[0])
    names = subject.class_names + [str(n) for n in range(len(subject.class_names), len(counts))]
    right = np.trace(counts) / counts.sum()
    side = min(max(3.6, 1.8 + 0.62 * len(counts)), 14)
    figure = blank(side + 1.0, side)
    ax = figure.subplots()
    facts = f"{samples.name} split, {counts.sum():,} samples, {100 * right:.2f} % right"
    ax.set_title(f"{subject.title}\n{facts}")
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Mistakes have their own colour scale: on that of the diagonal they would be invisible.
    diagonal = np.eye(len(rates), dtype=bool)
    ax.imshow(np.where(diagonal, rates, np.nan), cmap="Blues", vmin=0, vmax=1.4)
    mistakes = np.where(diagonal, np.nan, 100 * rates)
    most = max(float(100 * rates[~diagonal].max(initial=0)), 0.1)
    image = ax.imshow(mistakes, cmap="Oranges", vmin=0, vmax=most / 0.7)
    bar = figure.colorbar(image, ax=ax, label="mistakes, in % of the true class", shrink=0.85)
    bar.ax.set_ylim(0, most)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    if len(counts) <= 2 * WRITTEN:
        turned = 90 if max(map(len, names)) > 6 else 0
        ax.set_xticks(range(len(names)), names, rotation=turned)
        ax.set_yticks(range(len(names)), names)
    if len(counts) <= WRITTEN:
        _write(ax, counts, rates)
    return figure


def matrix(targets: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the confusion matrix: at [r, c] the samples of class r that are predicted as c."""
    classes = int(max(targets.max(), predicted.max())) + 1
    return np.bincount(targets * classes + predicted, minlength=classes**2).reshape(
        classes, classes
    )


def _write(ax: Axes, counts: np.ndarray, rates: np.ndarray) -> None:
    """Write count and rate into each cell that is not empty."""
    for (r, c), count in np.ndenumerate(counts):
        if count:
            rate = 100 * rates[r, c]
            text = f"{count}\n{rate:.1f} %" if rate < 99.95 else f"{count}\n100 %"
            color = "white" if r == c and rates[r, c] > 0.75 else "black"
            ax.text(c, r, text, ha="center", va="center", fontsize=7.5, color=color)
