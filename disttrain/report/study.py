"""The picture `scores.png` of a study: the score of each candidate against each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.report.figure import INK, blank, color_of, legend_below, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAME", "figure"]

NAME = "scores.png"
COLUMNS = 4


def figure(study: dict[str, Any]) -> Figure:
    """Return the picture of a study, given as `study.json` has it."""
    keys, rows = study["keys"], [r for r in study["candidates"] if r["score"] is not None]
    across = min(COLUMNS, len(keys))
    down = -(-len(keys) // across)
    drawn = blank(3.6 * across, 3.2 * down + 0.4, study["metric"].replace("_", " "))
    panels = drawn.subplots(down, across, squeeze=False, sharey=True).flat
    for ax, key in zip(panels, keys, strict=False):
        _panel(ax, key, rows, study["best"])
    for ax in list(panels)[len(keys) :]:
        ax.set_visible(False)
    legend_below(drawn)
    return drawn


def _panel(ax: Axes, key: str, rows: list[dict[str, Any]], best: dict[str, Any] | None) -> None:
    values = [row["settings"][key] for row in rows]
    numbers = all(type(value) in (int, float) for value in values)
    names = [] if numbers else sorted({str(value) for value in values})
    for stage in sorted({row["stage"] for row in rows}):
        here = [row for row in rows if row["stage"] == stage]
        x = [_place(row["settings"][key], names) for row in here]
        ax.plot(x, [row["score"] for row in here], "o", color=color_of(stage - 1),
                label=f"stage {stage}", alpha=0.8)  # fmt: skip
    if best:
        x_best = _place(best["settings"][key], names)
        ax.plot([x_best], [best["score"]], "o", ms=12, mfc="none", color=INK, label="best")
    ax.set_xlabel(plain(key))
    ax.grid(alpha=0.3)
    if numbers and values and min(values) > 0 and max(values) > 30 * min(values):
        ax.set_xscale("log")
    if names:
        ax.set_xticks(range(len(names)), [plain(name) for name in names])


def _place(value: Any, names: list[str]) -> float:
    return names.index(str(value)) if names else float(value)
