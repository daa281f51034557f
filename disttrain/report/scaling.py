"""The picture of `disttrain bench scaling`: step time and efficiency over ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from disttrain.report.figure import BAD, GOOD, blank, legend_below, save

__all__ = ["draw"]


class Row(Protocol):
    """What is drawn of a number of ranks."""

    @property
    def ranks(self) -> int:
        """Number of ranks."""

    @property
    def seconds(self) -> float:
        """Seconds of a step."""

    @property
    def efficiency(self) -> float:
        """One rank's time over that of all ranks together."""


def draw(predicted: Sequence[Row], measured: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the predicted steps as lines and the measured ones as points into the file `path`."""
    figure = blank(9.0, 3.8, "a step on more ranks")
    time, efficiency = figure.subplots(1, 2)
    ranks = [row.ranks for row in predicted]
    time.plot(ranks, [1e3 * row.seconds for row in predicted], color=GOOD, label="predicted")
    time.plot(
        [one["ranks"] for one in measured], [1e3 * one["step"] for one in measured],
        "o", color=BAD, label="measured",
    )  # fmt: skip
    time.set_ylabel("ms a step")
    time.set_yscale("log")
    efficiency.plot(ranks, [100 * row.efficiency for row in predicted], color=GOOD)
    efficiency.set_ylabel("efficiency in %")
    efficiency.set_ylim(0, 105)
    for ax in (time, efficiency):
        ax.set_xscale("log", base=2)
        ax.set_xlabel("ranks")
        ax.grid(alpha=0.3)
    legend_below(figure)
    save(figure, path)
