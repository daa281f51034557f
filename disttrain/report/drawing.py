"""A network drawn as units and weighted edges, as in a textbook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from disttrain import config
from disttrain.checkpoint import find
from disttrain.comm.alone import Alone
from disttrain.data import Normalization, read_facts
from disttrain.errors import UsageError
from disttrain.model import Layer, Loss, Squared
from disttrain.report import blocks
from disttrain.report.figure import BAD, GOOD, INK, blank, plain, save
from disttrain.runs.trained import load_trained
from disttrain.training.predictor import Predictor, build_predictor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Weights", "draw", "draw_file", "figure", "number"]

Weights = tuple[np.ndarray, np.ndarray]
"""`W` of shape (units, inputs) and `b` of shape (units,)."""

# Up to so many edges, those of the biases among them, have their weights written on them.
WRITTEN = 40
# A layer of more units shows its first and its last ones.
UNITS, ENDS = 12, 4
RADIUS = 0.3
INCHES = 0.72


@dataclass(frozen=True)
class Column:
    """The units of a layer as circles: their numbers, and the heights they are drawn at.

    `bias` is the height of the unit that is always 1, from which the biases of the next layer come;
    None where it is not drawn.
    """

    x: float
    total: int
    shown: np.ndarray
    heights: np.ndarray
    bias: float | None


def draw_file(
    file: Path, path: Path, own: Sequence[Layer] | None = None, loss: Loss | None = None
) -> None:
    """Draw the network of a checkpoint, a run folder or a TOML file into the file `path`.

    Of a run file it is the network with its initial weights, for the inputs of its data; of a file
    of given weights (`layers = [{ W = ..., b = ... }]`) the network that it states. A network with
    layers for images is drawn as blocks with shapes. Give the `own`
    layers and the `loss` that a script trained a checkpoint with, if any.
    """
    given = config.read_weights(file) if file.suffix == ".toml" else None
    if given:
        layers = [(np.array(layer.W), np.array(layer.b)) for layer in given]
        draw(layers, [layer.activation for layer in given], path)
        return
    if file.suffix == ".toml":
        model = _initial(file)
    else:
        model = load_trained(find(file), Alone(), own, loss)
    if blocks.has_blocks(model.network):
        save(blocks.figure(model.network, plain(model.settings.name)), path)
        return
    tensors, weights, activations = model.network.tensors(model.network.values), [], []
    for name, layer in zip(model.network.names, model.network.layers, strict=True):
        if f"{name}/weight" in tensors:
            bias = tensors.get(f"{name}/bias", np.zeros(len(tensors[f"{name}/weight"])))
            weights.append((tensors[f"{name}/weight"], bias))
            activations.append(str(getattr(layer, "activation", layer.kind)))
    draw(weights, activations, path, plain(model.settings.name))


def _initial(file: Path) -> Predictor:
    settings = config.read(file)
    facts = read_facts(settings.data.path, (settings.data.inputs, settings.data.targets))
    inputs = math.prod(facts.shape)
    identity = Normalization("none", 1.0, np.zeros(inputs), np.ones(inputs))
    # The loss is not drawn; "auto" has not become one yet.
    return build_predictor(settings, Alone(), identity, facts.shape, loss=Squared())


def draw(
    weights: Sequence[Weights], activations: Sequence[str], path: Path | str, title: str = ""
) -> None:
    """Draw the network of the layers `(W, b)` into the file `path` (.svg or .png).

    Edges are as wide as their weights are large, blue where these are positive and red where they
    are negative. Raises UsageError for layers that do not fit one another.

        draw([([[3, 4], [1, 2], [9, 7]], [5, 8, 6]), ([[5, 3, 1]], [6])], ["tanh", "sign"], "n.svg")
    """
    save(figure(weights, activations, title), Path(path))


def figure(weights: Sequence[Weights], activations: Sequence[str], title: str = "") -> Figure:
    """Return the picture that `draw` saves."""
    layers = _checked(weights, activations)
    written = sum(w.size + b.size for w, b in layers) <= WRITTEN
    columns = _columns(layers, written)
    heights = [h for c in columns for h in (*c.heights, *([] if c.bias is None else [c.bias]))]
    low, high = min(heights) - 1.6, max(heights) + 0.8
    left, right = -1.0, columns[-1].x + 1.0
    figure = blank(INCHES * (right - left) + 0.4, INCHES * (high - low) + 0.8, title)
    ax = figure.subplots()
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    largest = max(float(np.abs(np.concatenate([w.ravel(), b])).max()) for w, b in layers) or 1.0
    for (here, there), (weight, bias) in zip(pairwise(columns), layers, strict=True):
        _draw_edges(ax, here, there, weight, bias, largest, written)
    kinds = ["input", *activations]
    for place, (column, kind) in enumerate(zip(columns, kinds, strict=True)):
        _draw_units(ax, column, place, len(columns))
        units = f"{column.total} unit{'s' * (column.total != 1)}"
        ax.text(column.x, low + 0.75, kind, ha="center", va="center", fontsize=11)
        ax.text(column.x, low + 0.3, units, ha="center", va="center", fontsize=9, color=INK)
    _draw_legend(figure, largest)
    return figure


def number(value: float) -> str:
    """Return a weight as it is written on its edge: three digits, a true minus sign."""
    return f"{float(value):.3g}".replace("-", "−")


def _checked(weights: Sequence[Weights], activations: Sequence[str]) -> list[Weights]:
    layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in weights]
    if not layers or len(layers) != len(activations):
        raise UsageError(f"{len(layers)} layers with {len(activations)} activations: give one each")
    before = None
    for place, (w, b) in enumerate(layers, 1):
        if w.ndim != 2 or not w.size or b.shape != (len(w),) or before not in (None, w.shape[1]):
            raise UsageError(
                f"layer {place} has W of shape {w.shape} and b of shape {b.shape}: W needs one row "
                f"a unit and {before or 'some'} columns, b one number a unit"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise UsageError(f"layer {place} holds NaN or infinity: it can't be drawn")
        before = len(w)
    return layers


def _columns(layers: list[Weights], written: bool) -> list[Column]:
    """Place the units: columns far enough apart, units too, for what is written between them."""
    totals = [layers[0][0].shape[1], *(len(w) for w, _ in layers)]
    fewest = max((min(a + 1, b) for a, b in pairwise(totals)), default=1)
    gap = max(1.15, 0.33 * (fewest + 1)) if written else 0.85
    columns, x = [], 0.0
    for place, total in enumerate(totals):
        if total <= UNITS:
            shown, slots = np.arange(total), np.arange(total)
        else:
            shown = np.concatenate([np.arange(ENDS), np.arange(total - ENDS, total)])
            slots = np.concatenate([np.arange(ENDS), np.arange(ENDS) + ENDS + 1])
        heights = gap * (slots[-1] / 2 - slots)
        with_bias = written and place < len(totals) - 1
        bias = float(heights[-1] - gap) if with_bias else None
        columns.append(Column(x, total, shown, heights, bias))
        # Flat edges leave room for what is written along them.
        tall = gap * (max(totals[place : place + 2]) + 1)
        x += max(3.4, 0.7 * tall) if written else 3.4
    return columns


def _draw_edges(
    ax: Axes, here: Column, there: Column, weight: np.ndarray, bias: np.ndarray,
    largest: float, written: bool,
) -> None:  # fmt: skip
    """Draw the edges between two layers and, where asked, write the weights on them.

    Labels stand a part 1/(n+1) of the way from the side with more units, n being the number on the
    other: then their heights are evenly spaced.
    """
    from matplotlib.collections import LineCollection

    sources = [*here.heights] + ([] if here.bias is None else [here.bias])
    values = weight[np.ix_(there.shown, here.shown)]
    if here.bias is not None:
        values = np.concatenate([values, bias[:, None]], axis=1)
    segments = [[(here.x, s), (there.x, t)] for t in there.heights for s in sources]
    sizes = np.abs(values.ravel()) / largest
    collection = LineCollection(
        segments,
        linewidths=0.4 + 3.4 * sizes,
        colors=[GOOD if v >= 0 else BAD for v in values.ravel()],
        alpha=0.75 if written else np.clip(0.12 + 0.8 * sizes, 0, 1),
        zorder=1,
    )
    ax.add_collection(collection)
    if not written:
        return
    from_source = len(sources) > len(there.heights)
    fraction = 1 / (len(there.heights) + 1) if from_source else 1 - 1 / (len(sources) + 1)
    for ((x0, y0), (x1, y1)), value in zip(segments, values.ravel(), strict=True):
        ax.text(
            x0 + fraction * (x1 - x0), y0 + fraction * (y1 - y0), number(value),
            rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)), fontsize=9, zorder=4,
            ha="center", va="center", color=GOOD if value >= 0 else BAD,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _draw_units(ax: Axes, column: Column, place: int, places: int) -> None:
    """Draw the circles of a layer with their names, and an ellipsis where units are left out."""
    from matplotlib.patches import Circle

    fill = "#E8F1F8" if 0 < place < places - 1 else "white"
    for unit, y in zip(column.shown, column.heights, strict=True):
        ax.add_patch(Circle((column.x, y), RADIUS, facecolor=fill, edgecolor=INK, zorder=5))
        ax.text(column.x, y, _name(place, places, unit + 1), ha="center", va="center", fontsize=9.5,
                zorder=6)  # fmt: skip
    if column.bias is not None:
        ax.add_patch(Circle((column.x, column.bias), 0.8 * RADIUS, facecolor="#DDDDDD",
                            edgecolor=INK, linestyle=":", zorder=5))  # fmt: skip
        ax.text(column.x, column.bias, "1", ha="center", va="center", fontsize=9.5, zorder=6)
    if len(column.shown) < column.total:
        ax.text(column.x, 0, "⋮", ha="center", va="center", fontsize=16, zorder=6)


def _name(place: int, places: int, unit: int) -> str:
    if place == 0:
        return f"$x_{{{unit}}}$"
    if place == places - 1:
        return f"$f_{{{unit}}}$"
    layer = "" if places == 3 else f"^{{({place})}}"
    return f"$h{layer}_{{{unit}}}$"


def _draw_legend(figure: Figure, largest: float) -> None:
    """Say what colour and width mean."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=GOOD, linewidth=2, label="positive"),
        Line2D([], [], color=BAD, linewidth=2, label="negative"),
        Line2D([], [], color=INK, linewidth=3.8, label=f"size {number(largest)}"),
        Line2D([], [], color=INK, linewidth=0.4, label="size 0"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
