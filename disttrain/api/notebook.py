"""A line under a notebook's cell that shows how far a training is, by IPython where it runs."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["Notebook", "in_notebook", "interactive"]


def in_notebook() -> bool:
    """Return True in a notebook's kernel, as of Jupyter; nothing is imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def interactive() -> bool:
    """Return True in a notebook and at Python's prompt, where Ctrl-C ends what was typed last."""
    return in_notebook() or hasattr(sys, "ps1")


class Notebook:
    """One line that is written anew, with the methods of rich's `Progress` that are used."""

    def __init__(self) -> None:
        self._total = 1
        self._handle: Any = None

    def add_task(self, description: str, *, total: int, **fields: Any) -> int:
        """Remember how many steps there are; return the number of the task."""
        self._total = max(total, 1)
        return 0

    def start(self) -> None:
        """Show the line."""
        display = importlib.import_module("IPython.display").display
        self._handle = display(_text("..."), raw=True, display_id=True)

    def update(self, task: int, *, completed: int, epoch: float, speed: str) -> None:
        """Write the line anew."""
        done = completed / self._total
        line = f"epoch {epoch:5.2f} {'█' * round(30 * done):░<30} {100 * done:3.0f} %  {speed}"
        if self._handle:
            self._handle.update(_text(line), raw=True)

    def stop(self) -> None:
        """Take the line away."""
        if self._handle:
            self._handle.update(_text(""), raw=True)
            self._handle = None


def _text(line: str) -> dict[str, str]:
    return {"text/plain": line}
