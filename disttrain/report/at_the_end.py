"""The callback behind `plot = true`: it draws when the run has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from disttrain.report.figure import require
from disttrain.report.pictures import draw_all
from disttrain.training import Callback, Run

__all__ = ["Pictures"]


class Pictures(Callback):
    """Draws all pictures when the run has ended; `plot = true` in the run file asks for it.

    One that can't be drawn is said, and fails nothing: the training is done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_start(self, run: Run) -> None:
        """Refuse before the training, not after it, where matplotlib is missing."""
        require()

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Draw."""
        try:
            pictures = list(draw_all(self._folder, self._folder, careful=True))
            wanting = [(p.reason, p.name) for p in pictures if p.failed]
        except Exception as error:
            wanting = [(str(error), "all pictures")]
        for reason in dict(wanting):
            names = ", ".join(name for why, name in wanting if why == reason)
            for callback in run.callbacks:
                callback.on_message(f"not drawn: {names}: {reason}")
