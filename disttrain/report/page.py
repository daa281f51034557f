"""A report as one HTML page: parts of sections, and the template that shows them.

The page holds all that it shows and asks nothing of a network; it has no script. Every text is
escaped by jinja2; only what matplotlib drew is taken as it is, and matplotlib escapes its texts.
"""

from __future__ import annotations

import base64
import functools
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

import numpy as np

from disttrain.errors import UsageError
from disttrain.report.figure import require
from disttrain.shown import shown
from disttrain.written import text_of, why

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Images",
    "Lines",
    "Page",
    "Panels",
    "Picture",
    "Section",
    "Table",
    "Text",
    "drawn",
    "image",
    "rendered",
]

NUMBERS = itertools.count(1)
# What matplotlib draws in black or in ink has the colour of the page's text, dark or light.
INKS = re.compile(r"(stroke|fill): #(?:000000|333333)")
PAPER = re.compile(r"fill: #ffffff")
# Where a key or a path may be parted: not within a number.
PARTS = re.compile(r"([._/])(?=[a-z]{2})")
# Inches.
WIDE = 6
PLACES = re.compile(r'(\bid="|xlink:href="#|url\(#)')


@dataclass(frozen=True)
class Picture:
    """What matplotlib drew, as SVG; by itself it stands on white paper.

    One that is `wide` can be moved sideways on a phone, so that its texts can be read.
    """

    svg: str
    label: str
    wide: bool = False
    kind: str = "picture"


@dataclass(frozen=True)
class Panels:
    """Pictures beside each other, in the colours of the page."""

    pictures: Sequence[Picture]
    kind: str = "panels"


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; all columns but the first hold numbers where it says so."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: bool = True
    strong: int | None = None
    kind: str = "table"


@dataclass(frozen=True)
class Lines:
    """A list of sentences."""

    lines: Sequence[str]
    kind: str = "lines"


@dataclass(frozen=True)
class Text:
    """A text as it stands in a file."""

    text: str
    kind: str = "text"

    @classmethod
    def of(cls, path: Path) -> Text:
        """Return the text of a file."""
        try:
            return cls(text_of(path))
        except (OSError, ValueError) as error:
            return cls(f"{path.name} can't be read: {why(error)}")


@dataclass(frozen=True)
class Images:
    """Small images, each a PNG with a caption."""

    images: Sequence[tuple[str, str]]
    kind: str = "images"


@dataclass(frozen=True)
class Section:
    """A title, parts, and a sentence about them."""

    title: str
    parts: Sequence[Any]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report: what it is of, its numbers, its sections."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=list)


def rendered(page: Page) -> str:
    """Return the page as HTML."""
    return str(template().render(page=page))


@functools.cache
def template() -> Any:
    """Return the template; UsageError where jinja2 is missing."""
    require()
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise UsageError(
            "a report needs jinja2 and matplotlib: pip install 'disttrain[report]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("disttrain.report", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["shown"] = lambda value: shown(value, 400)
    environment.filters["parted"] = _parted
    return environment.get_template("page.html.j2")


def _parted(value: object) -> Any:
    """Return a text whose keys and paths may go on in a new line, behind a dot or the like."""
    from markupsafe import Markup, escape

    return Markup(PARTS.sub(r"\1<wbr>", str(escape(shown(value, 400)))))


def drawn(figure: Figure, label: str, paper: bool = False) -> Picture:
    """Return a figure as a picture, whose names in the page are its own.

    Unless it is for white `paper` its black and its ink become the colour of the page's text.
    """
    from matplotlib import rc_context

    content = io.StringIO()
    with rc_context({"svg.hashsalt": "disttrain", "svg.fonttype": "none"}), catch_warnings():
        # Of letters that matplotlib can't draw: the browser draws the texts.
        filterwarnings("ignore", "Glyph ")
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = PLACES.sub(rf"\g<1>p{next(NUMBERS)}-", svg)
    if not paper:
        svg = PAPER.sub("fill: none", INKS.sub(r"\g<1>: currentColor", svg))
    return Picture(svg, label, figure.get_figwidth() > WIDE)


def image(pixels: np.ndarray, scale: int = 3) -> str:
    """Return a sample that is an image (height, width) or (height, width, 3) as a data URI."""
    from matplotlib.image import imsave

    pixels = pixels.astype(np.float64)
    low, high = float(pixels.min()), float(pixels.max())
    pixels = (pixels - low) / (high - low or 1.0)
    pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    content = io.BytesIO()
    imsave(content, pixels, format="png", cmap="gray")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
