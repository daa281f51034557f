"""For every picture: a blank figure, the colours, the legend, and saving."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrain.checkpoint import write_atomically
from disttrain.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BAD",
    "COLORS",
    "GOOD",
    "INK",
    "blank",
    "color_of",
    "legend_below",
    "marker_of",
    "plain",
    "require",
    "save",
]

# The palette of Okabe and Ito: readers who are colour-blind can tell these apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
GOOD, BAD, INK = COLORS[0], COLORS[5], "#333333"
FORMATS = (".png", ".svg")


def require() -> Any:
    """Return matplotlib's Figure, which draws without a screen; UsageError where there is none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "pictures need matplotlib: pip install 'disttrain[plot]' (or, in a run file, set "
            "plot = false)"
        ) from None
    return Figure


def plain(text: str) -> str:
    """Return `text` so that matplotlib writes it as it is: between two $ it would be a formula."""
    return text.replace("$", r"\$")


def blank(width: float, height: float, title: str = "") -> Figure:
    """Return an empty figure of that many inches."""
    figure: Figure = require()(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title)
    return figure


def legend_below(figure: Figure, columns: int = 8) -> None:
    """Write the legend of all panels under them, each label once, in at most so many columns."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = min(len(found), columns)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` (.png or .svg), whole or not at all: the same bytes every time.

    Raises UsageError for another suffix, or where the disk refuses.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: the name of a picture must end in .png or .svg")
    require()
    from matplotlib import rc_context

    content = io.BytesIO()
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    # Texts stay texts in an SVG, so that they can be searched and edited.
    with rc_context({"svg.hashsalt": "disttrain", "svg.fonttype": "none"}):
        figure.savefig(content, format=path.suffix[1:], dpi=120, metadata=metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(
            f"{path} can't be written ({problem.strerror}): choose another --output"
        ) from None
    write_atomically(path, content.getvalue(), error=UsageError)


def color_of(number: int) -> str:
    """Return the colour of class (or output) `number`."""
    return COLORS[number % len(COLORS)]


def marker_of(number: int) -> str:
    """Return the marker of class `number`: with the colour, 56 classes can be told apart."""
    return MARKERS[number % len(MARKERS)]
