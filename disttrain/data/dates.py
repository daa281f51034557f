"""Dates and times of a table as numbers: days since 1970, and places in the year, week and day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from disttrain.data.format import Array

if TYPE_CHECKING:
    import pandas

__all__ = ["PARTS", "date_format", "date_inputs", "date_parts", "days_of"]

ISO = "ISO8601"
"""2012-01-31, 2012/01/31, 2012-01, with a time or not: 2012-01-31T10:00:00+01:00 is in UTC."""

QUARTER = "%Y-Q"
"""2012-Q1, 2012Q1 or 2012 Q1: its first day."""

TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
MONTH_FIRST = ("%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y", "%m-%d-%y")
DAY_FIRST = ("%d/%m/%Y", "%d/%m/%y", "%d-%m-%Y", "%d-%m-%y")
NAMED = (
    "%d.%m.%Y", "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d %Y",
    "%b %d, %Y", "%B %d %Y", "%B %d, %Y", "%b-%d-%Y", "%B-%d-%Y", "%d/%b/%Y", "%d/%b/%y",
    "%b %Y", "%B %Y", "%b-%Y", "%B-%Y", "%b-%y", "%m/%Y", "%Y %b", "%Y %B", "%Y-%b", "%Y-%B",
)  # fmt: skip

PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}
PARTS = ("days", *(f"{name} {wave}" for name in PERIODS for wave in ("sine", "cosine")))
"""What a date may become: days since 1970-01-01 (of a time alone: of the day), sin and cos."""

VARIES = 0.1
"""Sines that vary by less say nothing, such as the place in the year of one day in each year."""


def date_format(texts: Collection[str]) -> str:
    """Return how all of these texts are dates, "" where they are none.

    Raises ValueError with words for a text that is a date in two ways, month first and day first.
    """
    first = next(iter(texts), "")
    found = [
        form
        for dates in (NAMED, MONTH_FIRST, DAY_FIRST)
        for form in (date + time for date, time in product(dates, TIMES))
        if _fits(first, form)
    ]
    found += [time.strip() for time in TIMES[1:] if _fits(first, time.strip())]
    days = {form: days_of(list(texts), form) for form in (ISO, QUARTER, *found)}
    fitting = [form for form, each in days.items() if not np.isnan(each).any()]
    if any((days[form] != days[fitting[0]]).any() for form in fitting):
        raise ValueError(f"'{first:.40}' has the month first or the day, and no row says which")
    return fitting[0] if fitting else ""


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def days_of(cells: Sequence[str] | pandas.Series, form: str) -> Array:
    """Return dates as days since 1970-01-01, float64; NaN where a cell is none, or is empty."""
    import pandas

    cells = pandas.Series(cells)
    if form == QUARTER:
        ends = {f"{n}$": f"-{3 * n - 2:02d}" for n in range(1, 5)}
        cells, form = cells.str.replace(r"[- ]?Q(?=[1-4]$)", "Q", regex=True), "%Y-%m"
        cells = cells.replace({f"Q{end}": month for end, month in ends.items()}, regex=True)
    times = pandas.to_datetime(cells, format=form, errors="coerce", utc=True)
    microseconds = times.dt.tz_localize(None).astype("datetime64[us]")
    days: Array = microseconds.to_numpy().astype(np.int64) / 86_400e6
    days[times.isna().to_numpy()] = np.nan
    return days % 1.0 if form.startswith(("%H", "%I")) else days


def date_parts(days: Array) -> tuple[str, ...]:
    """Return what dates become: days always, else what varies among them.

    The place in the year where they span two months, in the week where they span two and there are
    about as many different days as weeks or more, in the day where they have times.
    """
    span = np.ptp(days)
    dense = len(np.unique(np.floor(days))) > span / PERIODS["week"]
    there = {"year": span > 60, "week": span >= 14 and dense, "day": len(np.unique(days % 1)) > 1}
    waves = ((name, f"{name} {wave}") for name in PERIODS for wave in ("sine", "cosine"))
    return ("days", *(
        part for name, part in waves
        if there[name] and max(np.ptp(date_inputs(days, (f"{name} sine", f"{name} cosine")), 0))
        > VARIES
    ))  # fmt: skip


def date_inputs(days: Array, parts: Sequence[str]) -> Array:
    """Return the `parts` of dates, (rows, parts) float64; NaN stays NaN."""
    found = np.empty((len(days), len(parts)))
    for number, part in enumerate(parts):
        name, _, wave = part.partition(" ")
        if not wave:
            found[:, number] = days
            continue
        angle = 2 * np.pi * (days / PERIODS[name])
        found[:, number] = np.sin(angle) if wave == "sine" else np.cos(angle)
    return found
