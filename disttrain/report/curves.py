"""The picture `curves.png` of a run: loss, accuracy and learning rate over epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrain.errors import UsageError
from disttrain.training import Callback, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curves", "draw"]


class Curves(Callback):
    """Draws the curves when the run has ended; `plot = true` in the run file asks for it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "curves.png"

    def on_start(self, run: Run) -> None:
        """Refuse before the training, not after it, where matplotlib is missing."""
        _matplotlib()

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Draw."""
        draw(run.state.history, self._path, run.settings.name)


def draw(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the intervals of a run (as in `metrics.jsonl`) into the PNG file `path`."""
    figure_class = _matplotlib()
    has_accuracy = any(r["train_accuracy"] is not None for r in history)
    kinds = ["loss", "accuracy", "rate"] if has_accuracy else ["loss", "rate"]
    figure = figure_class(figsize=(4.2 * len(kinds), 3.4), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, len(kinds))
    for ax, kind in zip(axes, kinds, strict=True):
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        if kind == "rate":
            ax.set_title("learning rate")
            ax.step(*_points(history, "learning_rate"), where="pre", color="tab:gray")
            ax.set_ylim(bottom=0)
        else:
            _pair(ax, history, kind)
    figure.savefig(path, dpi=120)


def _pair(ax: Axes, history: list[dict[str, Any]], kind: str) -> None:
    """Draw a quantity of training and validation into one field."""
    ax.set_title(kind)
    for split, color in (("train", "tab:blue"), ("validation", "tab:orange")):
        epochs, values = _points(history, f"{split}_{kind}")
        if values:
            ax.plot(epochs, values, label=split, color=color, marker=".")
    if kind == "loss" and all(v > 0 for v in _points(history, "train_loss")[1]):
        ax.set_yscale("log")
    ax.legend()


def _points(history: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    found = [(r["epoch"], r[key]) for r in history if r[key] is not None]
    return [e for e, _ in found], [v for _, v in found]


def _matplotlib() -> Any:
    """Return matplotlib's Figure, which draws without a screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "plot = true needs matplotlib: pip install 'disttrain[plot]', or set plot = false"
        ) from None
    return Figure
