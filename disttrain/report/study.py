"""The picture `scores.png` of a study: the score of each candidate against each key."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from disttrain.report.figure import INK, blank, color_of, legend_below, plain
from disttrain.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAME", "against", "figure", "stages_of"]

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
        against(ax, key, rows, study["best"])
    for ax in list(panels)[len(keys) :]:
        ax.set_visible(False)
    legend_below(drawn)
    return drawn


def against(ax: Axes, key: str, rows: list[dict[str, Any]], best: dict[str, Any] | None) -> None:
    """Draw the scores of candidates against one key, by stage, with the best one marked.

    A key whose values are not all numbers has a place for each value; numbers that are positive and
    far apart have a logarithmic axis. Candidates without the key are left out.
    """
    given = [row for row in rows if key in row["settings"]]
    values = [row["settings"][key] for row in given]
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    names = [] if numbers else sorted({_text(value) for value in values})
    for place, stage in enumerate(stages_of(rows)):
        here = [row for row in given if str(row.get("stage", "")) == stage]
        x = [_place(row["settings"][key], names) for row in here]
        ax.plot(x, [row["score"] for row in here], "o", color=color_of(place), alpha=0.8,
                label=f"stage {plain(shown(stage, 20))}")  # fmt: skip
    if best and key in best["settings"]:
        x_best = _place(best["settings"][key], names)
        ax.plot([x_best], [best["score"]], "o", ms=12, mfc="none", color=INK, label="best")
    ax.set_xlabel(plain(shown(key, 60)))
    ax.grid(alpha=0.3)
    if numbers and values and min(values) > 0 and max(values) > 30 * min(values):
        ax.set_xscale("log")
    elif numbers and all(type(value) is int for value in values):
        ax.locator_params(axis="x", integer=True)
    if names:
        ax.set_xticks(range(len(names)), [plain(name) for name in names])


def stages_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the stages of candidates in their order, each with the same colour everywhere."""
    stages = {str(row.get("stage", "")) for row in rows}
    return sorted(stages, key=lambda stage: (int(stage) if stage.isdecimal() else 0, stage))


def _text(value: Any) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 24)


def _place(value: Any, names: list[str]) -> float:
    return names.index(_text(value)) if names else float(value)
