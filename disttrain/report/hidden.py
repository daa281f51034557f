"""The picture `hidden.png` of a run: two-dimensional data as its hidden layers transform them.

One panel shows the inputs with a grid; one for each hidden layer shows the outputs of its units for
the same samples and the same grid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from disttrain.data import ArrayRows, Split
from disttrain.report.figure import INK, blank, legend_below
from disttrain.report.space import Space, draw_classes, draw_regions, draw_surface, space_of
from disttrain.report.subject import Subject, margins_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from disttrain.runs.trained import Trained

__all__ = ["NAME", "figure", "hidden_layers", "principal", "units_of", "why_not"]

NAME = "hidden.png"
LAYERS = 3
LINES, POINTS = 21, 120
SAMPLES = 1500


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    facts = subject.facts
    if facts["inputs"] != 2 or not facts["classes"]:
        kind = "classes" if facts["classes"] else "numbers"
        needs = "this needs 2 inputs" + " and classes" * (not facts["classes"])
        return f"the inputs are {facts['inputs']:,} numbers and the targets {kind}: {needs}"
    layers = hidden_layers(subject.trained)
    if not layers:
        return "the network has no hidden layer"
    shapes = [subject.trained.network.shapes[number + 1] for number in layers]
    return None if all(math.prod(s) > 1 for s in shapes) else "a hidden layer has a single unit"


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    trained, space, names = subject.trained, space_of(subject), subject.class_names
    layers = hidden_layers(trained)[-LAYERS:]
    samples = subject.samples("train")
    inputs, targets = samples.inputs[:SAMPLES], samples.targets[:SAMPLES]
    lines = _grid_lines(space)
    figure = blank(4.5 * (len(layers) + 1), 4.8, f"{subject.title}: what the hidden layers make")
    axes = figure.subplots(1, len(layers) + 1)
    axes[0].set_title("inputs")
    draw_surface(axes[0], trained, space)
    _draw_lines(axes[0], lines)
    draw_classes(axes[0], inputs, targets, names)
    mapped = units_of(trained, inputs)
    bent = units_of(trained, space.rows(lines.reshape(-1, 2)))
    for ax, layer in zip(axes[1:], layers, strict=True):
        draw_layer(ax, trained, layer, mapped[layer], bent[layer], (targets, names))
    legend_below(figure)
    return figure


def hidden_layers(trained: Trained) -> list[int]:
    """Return the numbers of the layers with weights, but for the last."""
    weighted = [
        number
        for number, name in enumerate(trained.network.names)
        if f"{name}/weight" in trained.snapshot.parameters
    ]
    return weighted[:-1]


def units_of(trained: Trained, inputs: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of every layer for raw `inputs`, each of shape (samples, units)."""
    rows = Split("inputs", ArrayRows(inputs), np.zeros(len(inputs), np.int64))
    fed, _ = trained.feed(rows, np.arange(len(inputs)))
    get = trained.network.device.get
    return [np.array(get(h), np.float64) for h in trained.network.activations(fed)]


def draw_layer(
    ax: Axes,
    trained: Trained,
    layer: int,
    units: np.ndarray,
    bent: np.ndarray,
    classes: tuple[np.ndarray, list[str]],
) -> None:
    """Draw a hidden layer's outputs: `units` for the samples, `bent` for the lines of the grid."""
    number, width = hidden_layers(trained).index(layer) + 1, units.shape[1]
    title = f"hidden layer {number}: {width} units, {trained.network.layers[layer].activation}"  # type: ignore[attr-defined]
    names = "$h_1$", "$h_2$"
    if width > 2:
        (units, bent), part = principal(units, bent)
        title += f"\nprincipal components: {100 * part:.0f} % of the variance"
        names = "first component", "second component"
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    everything = np.concatenate([units, bent])
    low, high = everything.min(axis=0), everything.max(axis=0)
    pad = np.where(high > low, 0.06 * (high - low), 1.0)
    if width == 2 and layer == hidden_layers(trained)[-1]:
        _draw_decision(ax, trained, low - pad, high + pad)
    _draw_lines(ax, bent.reshape(2 * LINES, POINTS, 2))
    draw_classes(ax, units, *classes)
    ax.set_xlim(low[0] - pad[0], high[0] + pad[0])
    ax.set_ylim(low[1] - pad[1], high[1] + pad[1])


def principal(units: np.ndarray, others: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Return rows along the two directions in which `units` vary most, and their part of it all.

    The sign of a direction is such that its largest number is positive.
    """
    mean = units.mean(axis=0)
    _, spread, directions = np.linalg.svd(units - mean, full_matrices=False)
    axes = directions[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    part = float((spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-300))
    return ((units - mean) @ axes.T, (others - mean) @ axes.T), part


def _draw_decision(ax: Axes, trained: Trained, low: np.ndarray, high: np.ndarray) -> None:
    """Draw how the linear last layer divides the plane of two hidden units; a line for 2 classes.

    Between classes 0 and 1 it is `(w_1 - w_0) h + b_1 - b_0 = 0`.
    """
    name, last = trained.network.names[-1], trained.network.layers[-1]
    if getattr(last, "activation", "") != "identity" or trained.network.outputs < 2:
        return
    weight = trained.snapshot.parameters[f"{name}/weight"].astype(np.float64)
    bias = trained.snapshot.parameters[f"{name}/bias"].astype(np.float64)
    xs, ys, places = Space(low, high, np.dtype("f8")).grid(300)
    outputs = places @ weight.T + bias
    draw_regions(ax, xs, ys, outputs.argmax(axis=1), margins_of(outputs))
    if len(bias) == 2:
        ax.plot([], [], color=INK, label="the last layer's separating line")


def _grid_lines(space: Space) -> np.ndarray:
    """Return lines over the inputs, (lines, points, 2): along the second input, then the first."""
    steady = [np.repeat(space.axis(n, LINES)[:, None], POINTS, axis=1) for n in (0, 1)]
    moving = [np.repeat(space.axis(n, POINTS)[None], LINES, axis=0) for n in (0, 1)]
    return np.concatenate(
        [np.stack([steady[0], moving[1]], -1), np.stack([moving[0], steady[1]], -1)]
    )


def _draw_lines(ax: Axes, lines: np.ndarray) -> None:
    from matplotlib.collections import LineCollection

    ax.add_collection(LineCollection(list(lines), colors=INK, linewidths=0.4, alpha=0.45, zorder=2))
