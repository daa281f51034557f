"""The picture `growth.png` of a run: the network's outputs at up to six of its checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.report import space
from disttrain.report.figure import blank, legend_below
from disttrain.report.subject import Subject
from disttrain.runs.trained import Trained

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["NAME", "chosen", "figure", "why_not"]

NAME = "growth.png"
PANELS = 6


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    if reason := space.why_not(subject):
        return reason
    if len(subject.checkpoints) < 2:
        return "fewer than two checkpoints are kept: checkpoint.keep says how many"
    return None


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    box, names = space.space_of(subject), subject.class_names
    samples = subject.samples("train")
    models = [subject.load(path) for path in chosen(subject.checkpoints)]
    columns = len(models) if len(models) < 4 else (len(models) + 1) // 2
    rows = -(-len(models) // columns)
    figure = blank(3.3 * columns, 3.4 * rows + 0.5, f"{subject.title}: over the epochs")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for ax, model in zip(axes, models, strict=False):
        space.draw_surface(ax, model, box, points=200)
        space.draw_samples(ax, samples, box, names, size=12)
        ax.set_title(_title(model), fontsize=10)
        ax.label_outer()
    for ax in list(axes)[len(models) :]:
        ax.set_axis_off()
    if not names and len(box.low) == 2:
        space.draw_scale(figure, box)
    else:
        legend_below(figure)
    return figure


def chosen(checkpoints: list[Path]) -> list[Path]:
    """Return at most six checkpoints, the first and the last among them.

    Their steps grow by about the same factor: most happens at the beginning.
    """
    if len(checkpoints) <= PANELS:
        return checkpoints
    steps = np.array([int(path.stem.removeprefix("step-")) for path in checkpoints])
    wanted = np.geomspace(max(steps[0], 1), steps[-1], PANELS)
    nearest = {int(np.abs(steps - step).argmin()) for step in wanted}
    return [checkpoints[number] for number in sorted(nearest)]


def _title(model: Trained) -> str:
    """Return the epoch with its accuracies or losses."""
    snapshot = model.snapshot
    title = f"epoch {snapshot.epoch:.4g}"
    history = snapshot.progress.history
    if not history or history[-1]["step"] != snapshot.step:
        return title
    parts = []
    for split in ("train", "validation"):
        loss, accuracy = (history[-1][f"{split}_{kind}"] for kind in ("loss", "accuracy"))
        if accuracy is not None:
            parts.append(f"{split} {100 * accuracy:.0f} %")
        elif loss is not None:
            parts.append(f"{split} {loss:.3g}")
    return f"{title}\n{'' if parts[0].endswith('%') else 'loss: '}{', '.join(parts)}"
