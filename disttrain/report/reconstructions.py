"""The picture `reconstructions.png`: images as the layers that were pre-trained give them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from disttrain.checkpoint import newest_whole
from disttrain.data.augmentation import image_of
from disttrain.model import Dense, Dropout, Flatten, Network
from disttrain.model.given import network_of
from disttrain.report.augmented import pixels
from disttrain.report.figure import blank
from disttrain.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure", "learned", "why_not"]

NAME = "reconstructions.png"
SAMPLES = 10
SHOWN = (Dense, Dropout, Flatten)


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    if not learned(subject):
        return "no network of units was pre-trained"
    return None if image_of(subject.sample_shape) else "the samples are not images"


def learned(subject: Subject) -> list[tuple[Network, Network]]:
    """Return the encoder and the decoder of each layer as pre-training left them.

    None where layers for images stand among them: `filters.png` and `maps.png` show what they see.
    """
    found: list[tuple[Network, Network]] = []
    if any(not isinstance(layer, SHOWN) for layer in subject.trained.network.layers):
        return found
    while (folder := subject.folder / f"pretraining-{len(found) + 1}").is_dir():
        state = newest_whole(folder).snapshot
        if state is None:
            break
        parts = state.parameters
        activations = [getattr(layer, "activation", "") for layer in
                       state.settings(folder).model.layers]  # fmt: skip
        names = list(dict.fromkeys(key.partition("/")[0] for key in parts))
        pairs = [(parts[f"{name}/weight"], parts[f"{name}/bias"]) for name in names]
        if "rbm1/visible" in parts:
            pairs.append((pairs[0][0].T, parts["rbm1/visible"]))
            activations = ["sigmoid", "sigmoid"]
        encoder, decoder = (
            network_of([pair], [name]) for pair, name in zip(pairs, activations, strict=True)
        )
        found.append((encoder, decoder))
    return found


def figure(subject: Subject) -> Figure:
    """Return the picture: stored images, and each as it comes back from one layer, two, ..."""
    trained, layers = subject.trained, learned(subject)
    split = subject.samples(subject.held_out or "train").split
    fed, _ = trained.feed(split, np.arange(min(SAMPLES, split.count)))
    x = np.array(trained.network.device.get(fed), np.float64).reshape(len(fed), -1)
    shown, h = [("stored", x)], x
    for depth, (encoder, _) in enumerate(layers, 1):
        h = encoder.predict(h).copy()
        back = h
        for _, decoder in reversed(layers[:depth]):
            back = decoder.predict(back).copy()
        shown.append((f"{depth} layer{'s' * (depth > 1)}", back))
    figure = blank(0.95 * len(x) + 1.2, 0.95 * len(shown) + 0.8)
    figure.suptitle(f"{subject.title}: images given back by what was pre-trained")
    axes = figure.subplots(len(shown), len(x), squeeze=False)
    scale = trained.normalization
    image = image_of(subject.sample_shape) or (1, 1, 1)
    for row, (name, values) in zip(axes, shown, strict=True):
        row[0].set_ylabel(name, fontsize=8)
        for ax, sample in zip(row, pixels(values * scale.deviation + scale.mean, image),
                              strict=True):  # fmt: skip
            ax.imshow(sample, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
    return figure
