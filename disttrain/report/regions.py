"""The picture `regions.png` of a run: the network's output for every input, and the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.report.figure import INK, blank, legend_below
from disttrain.report.space import (
    SAMPLES,
    draw_samples,
    draw_scale,
    draw_surface,
    space_of,
    why_not,
)
from disttrain.report.subject import Samples, Subject, decided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "why_not"]

NAME = "regions.png"


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    space, names = space_of(subject), subject.class_names
    splits = [n for n in ("train", subject.held_out) if n in subject.facts["samples"]]
    figure = blank(4.6 * len(splits) + 0.4, 4.7, subject.title)
    axes = figure.subplots(1, len(splits), squeeze=False, sharex=True, sharey=True)[0]
    for ax, name in zip(axes, splits, strict=True):
        samples = subject.samples(str(name))
        draw_surface(ax, subject.trained, space)
        draw_samples(ax, samples, space, names)
        if names:
            _ring_mistakes(ax, subject, samples)
        ax.set_title(_score(subject, samples))
    if not names and len(space.low) == 2:
        draw_scale(figure, space)
    else:
        legend_below(figure)
    return figure


def _ring_mistakes(ax: Axes, subject: Subject, samples: Samples) -> None:
    """Put a ring around the samples that are taken for another class."""
    inputs, targets = samples.inputs[:SAMPLES], samples.targets[:SAMPLES]
    wrong = inputs[decided(subject.trained, inputs)[0] != targets]
    if len(wrong):
        x, y = wrong.T
        look: dict[str, Any] = {
            "facecolors": "none",
            "edgecolors": INK,
            "linewidths": 1.2,
            "zorder": 4,
        }
        ax.scatter(x, y, s=75, label="taken for another", **look)


def _score(subject: Subject, samples: Samples) -> str:
    score = subject.trained.score(samples.split, f"scoring the {samples.name} split")
    right = "" if score.accuracy is None else f", {100 * score.accuracy:.1f} % right"
    return f"{samples.name}: {samples.split.count:,} samples\nloss {score.loss:.3g}{right}"
