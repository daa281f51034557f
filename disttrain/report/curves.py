"""The picture `curves.png` of a run: loss, accuracy and learning rate over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.report.figure import BAD, COLORS, GOOD, INK, blank, legend_below
from disttrain.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAME", "draw", "figure", "kinds_of", "why_not"]

NAME = "curves.png"


def why_not(subject: Subject) -> str | None:
    """Return why there is no such picture of this run, or None where there is one."""
    return None if subject.history else "no interval of the run is finished"


def figure(subject: Subject) -> Figure:
    """Return the picture."""
    kinds = kinds_of(subject.history)
    figure = blank(4.2 * len(kinds), 3.8, subject.title)
    for ax, kind in zip(figure.subplots(1, len(kinds)), kinds, strict=True):
        draw(ax, subject.history, kind)
    legend_below(figure)
    return figure


def kinds_of(history: list[dict[str, Any]]) -> list[str]:
    """Return the curves that a run has."""
    has_accuracy = any(r["train_accuracy"] is not None for r in history)
    return ["loss", "accuracy", "rate"] if has_accuracy else ["loss", "rate"]


def draw(ax: Axes, history: list[dict[str, Any]], kind: str) -> None:
    """Draw one of the curves."""
    ax.set_xlabel("epoch")
    ax.grid(alpha=0.3)
    if kind == "rate":
        _rate(ax, history)
    else:
        _pair(ax, history, kind)
        _best(ax, history)


def _pair(ax: Axes, history: list[dict[str, Any]], kind: str) -> None:
    """Draw a quantity of training and validation into one field; the penalty beside the loss."""
    ax.set_title(kind)
    ax.set_ylabel("mean loss of a sample" if kind == "loss" else "fraction right")
    marker = "." if len(history) <= 40 else ""
    for split, color, style in (("train", GOOD, "-"), ("validation", BAD, "--")):
        epochs, values = _points(history, f"{split}_{kind}")
        if values:
            ax.plot(epochs, values, style, label=split, color=color, marker=marker)
    epochs, values = _points(history, f"validation_average_{kind}")
    if values:
        ax.plot(epochs, values, "-.", label="running average", color=COLORS[2])
    if kind != "loss":
        return
    epochs, penalties = _points(history, "penalty")
    if any(penalties):
        ax.plot(epochs, penalties, ":", color=INK, label=r"penalty $\lambda/2\,\|w\|^2$")
    if all(v > 0 for v in _points(history, "train_loss")[1]):
        ax.set_yscale("log")


def _best(ax: Axes, history: list[dict[str, Any]]) -> None:
    """Mark the epoch whose weights are kept as the best."""
    epochs, losses = _points(history, "validation_loss")
    if losses:
        best = epochs[losses.index(min(losses))]
        ax.axvline(best, color=INK, linewidth=0.8, alpha=0.6, label=f"best weights ({best:g})")


def _rate(ax: Axes, history: list[dict[str, Any]]) -> None:
    """Draw the learning rate, on a log scale where it falls by far."""
    ax.set_title("learning rate")
    ax.set_ylabel("rate")
    epochs, rates = _points(history, "learning_rate")
    ax.step(epochs, rates, where="pre", color=INK)
    if min(rates) > 0 and max(rates) > 20 * min(rates):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)


def _points(history: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    found = [(r["epoch"], r[key]) for r in history if r.get(key) is not None]
    return [e for e, _ in found], [v for _, v in found]
