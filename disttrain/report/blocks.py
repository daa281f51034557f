"""A network with filters drawn as blocks: each layer's outputs as a stack of maps, with shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from disttrain.model import Dropout, Layer, Network, Shape
from disttrain.report.figure import GOOD, INK, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "has_blocks"]

# Maps of a stack that are drawn; all are named.
MAPS = 6
FILLS = {"conv": "#CFE3F1", "max-pool": "#F6E3C5", "average-pool": "#F6E3C5", "dense": "#DCEBD3"}


def has_blocks(network: Network) -> bool:
    """Return True where a layer is for images: its weights are no edges between units."""
    return any(len(shape) > 1 for shape in network.shapes[1:])


def figure(network: Network, title: str = "") -> Figure:
    """Return the picture: a block for the samples and one for each layer, from left to right."""
    layers: list[Layer | None] = [None, *network.layers]
    tallest = max(_side(shape)[0] for shape in network.shapes)
    figure = blank(1.45 * len(layers) + 0.6, 4.2, title)
    ax = figure.subplots()
    ax.set_xlim(-0.75, len(layers) - 0.25)
    ax.set_ylim(-1.05, 1.75)
    ax.set_axis_off()
    counts = [sum(math.prod(s.shape) for s in network.layout.spans if s.layer == n)
              for n in range(len(network.layers))]  # fmt: skip
    for place, (layer, shape) in enumerate(zip(layers, network.shapes, strict=True)):
        _draw_block(ax, place, shape, layer, tallest)
        weights = counts[place - 1] if layer else 0
        lines = [layer.kind if layer else "sample", _what(layer), " x ".join(map(str, shape)),
                 f"{weights:,} weights" if weights else ""]  # fmt: skip
        for row, (line, size) in enumerate(zip(lines, (10, 8, 9, 8), strict=True)):
            ax.text(place, -0.2 - 0.2 * row, line, ha="center", va="center", fontsize=size,
                    color=INK if row % 3 == 0 else "black")  # fmt: skip
        if layer:
            ax.annotate("", (place - 0.42, 0.6), (place - 0.58, 0.6),
                        arrowprops={"arrowstyle": "->", "color": GOOD})  # fmt: skip
    return figure


def _what(layer: Layer | None) -> str:
    """Return the settings of a layer that matter most, in a few characters."""
    if layer is None:
        return ""
    facts = []
    if (size := getattr(layer, "size", None)) is not None:
        facts.append(" x ".join(map(str, (size, size) if isinstance(size, int) else size)))
    if isinstance(layer, Dropout):
        facts.append(f"{layer.rate:g}")
    activation = getattr(layer, "activation", "identity")
    return ", ".join(facts + ([activation] if activation != "identity" else []))


def _side(shape: Shape) -> tuple[float, float, int]:
    """Return how high and wide a block is, in roots of numbers, and how many maps it has."""
    if len(shape) == 1:
        return math.sqrt(shape[0]), 1.0, 1
    return float(shape[0]), float(shape[1]), shape[2] if len(shape) > 2 else 1


def _draw_block(ax: Axes, place: int, shape: Shape, layer: Layer | None, tallest: float) -> None:
    """Draw a stack of maps, or a bar for a vector."""
    from matplotlib.patches import Rectangle

    high, wide, maps = _side(shape)
    scale = 1.1 / max(tallest, 1.0)
    height = max(high * scale, 0.08)
    width = min(max(wide * scale * 0.55, 0.06), 0.6) if len(shape) > 1 else 0.1
    shown: Sequence[int] = range(min(maps, MAPS))
    for n in reversed(shown):
        shift = 0.045 * (n - (len(shown) - 1) / 2)
        corner = (place - width / 2 + shift, 0.6 - height / 2 + shift)
        fill = FILLS.get(layer.kind if layer else "", "white")
        ax.add_patch(Rectangle(corner, width, height, facecolor=fill, edgecolor=INK, zorder=5 - n))
