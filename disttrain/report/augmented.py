"""The picture `augmented.png`: some training samples as they are in the first epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.data.augmentation import image_of
from disttrain.data.shape import in_words
from disttrain.errors import UsageError
from disttrain.report.figure import blank, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from disttrain.training import Run

__all__ = ["NAME", "figure", "pixels"]

NAME = "augmented.png"
SAMPLES, EPOCHS = 8, 8


def figure(run: Run) -> Figure:
    """Return the picture: a row for each sample, as it is stored and in each epoch.

    Raises UsageError where samples are no images.
    """
    image, split = image_of(run.dataset.shape), run.dataset.splits["train"]
    if image is None:
        raise UsageError(
            f"--show is for images, and a sample is {in_words(run.dataset.shape)}: leave it out"
        )
    samples = np.arange(min(SAMPLES, split.count))
    columns: list[int | None] = [None]
    if run.feed.augmentation:
        columns += range(EPOCHS)
    figure = blank(0.95 * len(columns) + 0.4, 0.95 * len(samples) + 0.8)
    figure.suptitle(plain(f"{run.settings.name}: training samples"))
    axes = figure.subplots(len(samples), len(columns), squeeze=False)
    for column, epoch in enumerate(columns):
        inputs, _ = run.feed(split, samples, epoch)
        flat = np.array(run.network.device.get(inputs), np.float64).reshape(len(samples), -1)
        shown = pixels(flat * run.normalization.deviation + run.normalization.mean, image)
        axes[0, column].set_title("stored" if epoch is None else f"epoch {epoch + 1}", fontsize=8)
        for ax, sample in zip(axes[:, column], shown, strict=True):
            ax.imshow(sample, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_axis_off()
    return figure


def pixels(rows: np.ndarray, image: tuple[int, int, int]) -> np.ndarray:
    """Return rows as images that matplotlib draws: grey, or red, green and blue, in 0 to 1."""
    height, width, channels = image
    images = rows.reshape(len(rows), height, width, channels)
    if rows.size and (rows.min() < -0.5 or rows.max() > 1.5):
        images = (images - rows.min()) / max(float(np.ptp(rows)), 1e-30)
    images = images.clip(0, 1)
    return images if channels in (3, 4) else images.mean(axis=3)
