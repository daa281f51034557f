"""How far a command has come: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from disttrain.cli.options import say

__all__ = ["Told", "moving"]

Told = Callable[[str, float], None]
"""Called with what is done, and the part of it (0 to 1) that is."""

EVERY = 10.0
"""Seconds between two lines, and until the first."""


@contextmanager
def moving(quiet: bool = False) -> Iterator[Told]:
    """Give what is to be called as work goes on: it shows so on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if quiet:
        yield lambda words, part: None
    elif not console.is_terminal or os.environ.get("NO_COLOR"):
        yield _Lines()
    else:
        words = TextColumn("{task.description}", markup=False)
        columns = words, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("reading", total=None)
            yield lambda words, part: bar.update(task, description=words, total=1, completed=part)


class _Lines:
    """Prints a line every ten seconds."""

    def __init__(self) -> None:
        self._due = time.monotonic() + EVERY

    def __call__(self, words: str, part: float) -> None:
        """Print how far it is, if it is time for that."""
        if time.monotonic() > self._due:
            self._due = time.monotonic() + EVERY
            say(f"{words}, {part:.0%}", as_json=True)
