"""Drawing over the inputs of a network with one or two of them: its outputs, and the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.report.figure import COLORS, INK, color_of, marker_of
from disttrain.report.subject import Samples, Subject, decided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from disttrain.runs.trained import Trained

__all__ = [
    "Space",
    "draw_classes",
    "draw_regions",
    "draw_samples",
    "draw_scale",
    "draw_surface",
    "space_of",
    "why_not",
]

MARGIN = 0.08
# More would hide one another.
SAMPLES = 1500
LEVELS = 13


@dataclass(frozen=True)
class Space:
    """The box around the training samples, in raw inputs; `floor` and `ceiling` bound targets."""

    low: np.ndarray
    high: np.ndarray
    dtype: np.dtype
    floor: float = 0.0
    ceiling: float = 1.0

    def rows(self, points: np.ndarray) -> np.ndarray:
        """Return points (count, inputs) as inputs like those of the training."""
        if self.dtype != np.uint8:
            return points
        pixels: np.ndarray = np.clip(np.rint(points), 0, 255).astype(np.uint8)
        return pixels

    def axis(self, number: int, points: int) -> np.ndarray:
        """Return evenly spaced places along input `number`."""
        return np.linspace(self.low[number], self.high[number], points)

    def grid(self, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return `points` places along each of two axes, and all pairs of them, row by row."""
        xs, ys = self.axis(0, points), self.axis(1, points)
        return xs, ys, np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def why_not(subject: Subject) -> str | None:
    """Return why the network can't be shown over its inputs, or None where it can."""
    facts = subject.facts
    if facts["inputs"] == 2:
        outputs = subject.trained.network.outputs
        if facts["classes"] or outputs == 1:
            return None
        return f"the network has {outputs} outputs: over two inputs one can be drawn"
    if facts["inputs"] == 1 and not facts["classes"]:
        return None
    kind = "classes" if facts["classes"] else "numbers"
    return f"the inputs are {facts['inputs']:,} numbers and the targets {kind}: this needs 2 inputs"


def space_of(subject: Subject) -> Space:
    """Return the box around the training samples of a run."""
    name = "train" if "train" in subject.facts["samples"] else subject.held_out or ""
    samples = subject.samples(name)
    inputs = samples.inputs.astype(np.float64)
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    pad = np.where(high > low, MARGIN * (high - low), 1.0)
    bounds = float(samples.targets.min()), float(samples.targets.max())
    return Space(low - pad, high + pad, samples.inputs.dtype, *bounds)


def draw_surface(ax: Axes, trained: Trained, space: Space, points: int = 300) -> None:
    """Draw the network's output over the inputs: decision regions, a function, or its contour."""
    ax.set_xlabel("$x_1$" if len(space.low) == 2 else "$x$")
    if len(space.low) == 1:
        _draw_function(ax, trained, space)
        return
    ax.set_ylabel("$x_2$")
    ax.set_xlim(space.low[0], space.high[0])
    ax.set_ylim(space.low[1], space.high[1])
    if trained.snapshot.state["data"]["classes"]:
        xs, ys, places = space.grid(points)
        draw_regions(ax, xs, ys, *decided(trained, space.rows(places)))
    else:
        _draw_contour(ax, trained, space, points)


def draw_regions(
    ax: Axes, xs: np.ndarray, ys: np.ndarray, classes: np.ndarray, margins: np.ndarray
) -> None:
    """Fill the places of a grid with the pale colours of their classes; draw the borders."""
    from matplotlib.colors import ListedColormap, to_rgb

    pale = [tuple(1 - 0.35 * (1 - part) for part in to_rgb(color)) for color in COLORS]
    shape = len(ys), len(xs)
    dx, dy = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
    ax.imshow(
        classes.reshape(shape) % len(COLORS), cmap=ListedColormap(pale), vmin=-0.5,
        vmax=len(COLORS) - 0.5, origin="lower", aspect="auto", interpolation="nearest",
        extent=(xs[0] - dx, xs[-1] + dx, ys[0] - dy, ys[-1] + dy), zorder=0,
    )  # fmt: skip
    for number in np.unique(classes)[: margins.shape[1] - 1]:
        margin = margins[:, number].reshape(shape)
        if margin.min() < 0 < margin.max():
            ax.contour(xs, ys, margin, levels=[0.0], colors=INK, linewidths=1.1)


def _draw_function(ax: Axes, trained: Trained, space: Space) -> None:
    x = space.axis(0, 500)
    outputs = trained.predict(space.rows(x[:, None]))
    assert outputs is not None
    ax.set_ylabel("$f(x)$")
    ax.set_xlim(x[0], x[-1])
    for number, output in enumerate(outputs.T):
        name = "network" if outputs.shape[1] == 1 else f"network, output {number + 1}"
        color = INK if outputs.shape[1] == 1 else color_of(number)
        ax.plot(
            x,
            output,
            color=color,
            linewidth=2,
            label=f"class {name}" if name.isdigit() else name,
            zorder=3,
        )
    room = 0.15 * (space.ceiling - space.floor) or 1.0
    ax.set_ylim(space.floor - room, space.ceiling + room)


def _draw_contour(ax: Axes, trained: Trained, space: Space, points: int) -> None:
    xs, ys, places = space.grid(points)
    outputs = trained.predict(space.rows(places))
    assert outputs is not None
    levels = np.linspace(*bounds_of(space), LEVELS)
    values = outputs.reshape(len(ys), len(xs))
    ax.contourf(xs, ys, values, levels=levels, cmap="viridis", extend="both", zorder=0)
    if values.min() < levels[-1] and values.max() > levels[0]:
        ax.contour(
            xs,
            ys,
            values,
            levels=levels,
            colors="white",
            linewidths=0.5,
            linestyles="solid",
            zorder=1,
        )


def draw_scale(figure: Figure, space: Space) -> None:
    """Draw the scale of colours of a regression beside the panels."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(*bounds_of(space)), cmap="viridis")
    figure.colorbar(scale, ax=figure.axes, label="network; in the dots: target")


def bounds_of(space: Space) -> tuple[float, float]:
    """Return the ends of the scale of colours for a regression, which are never equal."""
    return space.floor, space.ceiling if space.ceiling > space.floor else space.floor + 1.0


def draw_samples(
    ax: Axes, samples: Samples, space: Space, names: list[str], size: float = 22.0
) -> None:
    """Draw samples where they are; classes by colour and marker, numbers by height or colour."""
    inputs, targets = samples.inputs[:SAMPLES], samples.targets[:SAMPLES]
    if names:
        draw_classes(ax, inputs, targets, names, size)
        return
    look: dict[str, Any] = {
        "s": size,
        "edgecolors": "white",
        "linewidths": 0.6,
        "label": f"{samples.name} samples",
    }
    if inputs.shape[1] == 2:
        low, high = bounds_of(space)
        look |= {"c": targets[:, 0], "cmap": "viridis", "vmin": low, "vmax": high}
        ax.scatter(inputs[:, 0], inputs[:, 1], **look)
        return
    first = 0 if samples.name == "train" else 1
    for number, target in enumerate(targets.T):
        color = color_of(number if targets.shape[1] > 1 else first)
        ax.scatter(inputs[:, 0], target, color=color, marker=marker_of(number), **look)


def draw_classes(
    ax: Axes, points: np.ndarray, targets: np.ndarray, names: list[str], size: float = 22.0
) -> None:
    """Draw points of two numbers with the colour and the marker of their classes."""
    look: dict[str, Any] = {"s": size, "edgecolors": INK, "linewidths": 0.5, "zorder": 3}
    for number, name in enumerate(names):
        x, y = points[targets == number].T
        label = f"class {name}" if name.isdigit() else name
        ax.scatter(x, y, color=color_of(number), marker=marker_of(number), label=label, **look)
