"""The picture `maps.png` of a run with filters: what each layer makes of one sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.data import ArrayRows, Split
from disttrain.data.augmentation import image_of
from disttrain.report.augmented import pixels
from disttrain.report.figure import blank
from disttrain.report.filters import first_filters
from disttrain.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "why_not"]

NAME = "maps.png"
MAPS = 16


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    if first_filters(subject) is None:
        return "the first layer has no filters"
    count = subject.samples(subject.held_out or "train").split.count
    if subject.sample >= count:
        return f"there is no sample {subject.sample}: they are 0 to {count - 1}"
    return None


def figure(subject: Subject) -> Figure:
    """Return the picture: the sample, then up to 16 maps of each layer that has maps."""
    trained, samples = subject.trained, subject.samples(subject.held_out or "train")
    chosen = samples.inputs[subject.sample : subject.sample + 1]
    split = Split("sample", ArrayRows(chosen), np.zeros(1, np.int64))
    fed, _ = trained.feed(split, np.arange(1))
    layers = [
        (name, np.array(trained.network.device.get(h), np.float64)[0])
        for name, h in zip(trained.network.names, trained.network.activations(fed), strict=True)
        if h.ndim == 4
    ]
    image = image_of(subject.sample_shape) or (1, 1, 1)
    scale = trained.normalization
    flat = np.array(trained.network.device.get(fed), np.float64).reshape(1, -1)
    columns = max(min(maps.shape[-1], MAPS) for _, maps in layers)
    figure = blank(0.8 * columns + 1.4, 0.8 * (len(layers) + 1) + 0.8)
    figure.suptitle(
        f"{subject.title}: sample {subject.sample} of {samples.name}, and its feature maps"
    )
    axes = figure.subplots(len(layers) + 1, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    axes[0, 0].imshow(pixels(flat * scale.deviation + scale.mean, image)[0], cmap="gray")
    for row, (name, maps) in zip(axes[1:], layers, strict=True):
        row[0].set_title(f"{name}: {maps.shape[-1]} maps", fontsize=8, loc="left")
        largest = float(np.abs(maps).max()) or 1.0
        for ax, one in zip(row, np.moveaxis(maps, -1, 0), strict=False):
            ax.imshow(one, cmap="PuOr", vmin=-largest, vmax=largest, interpolation="nearest")
    return figure
