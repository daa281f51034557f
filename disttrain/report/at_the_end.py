"""The callback behind `plot = true`: it draws when the run has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from disttrain.report.figure import require
from disttrain.report.pictures import draw_all
from disttrain.runs.lock import place_of_lock
from disttrain.training import Callback, Run

__all__ = ["Pictures"]


class Pictures(Callback):
    """Draws all pictures when the run has ended; `plot = true` in the run file asks for it.

    A picture that can't be drawn is reported; the run succeeds all the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place: object = None

    def on_start(self, run: Run) -> None:
        """Raise UsageError before the training where matplotlib is missing."""
        require()
        self._place = place_of_lock(self._folder)

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Draw."""
        wanting, pictures = [], draw_all(self._folder, self._folder, careful=True)
        try:
            # If the folder was moved meanwhile, another run may use that path now.
            while place_of_lock(self._folder) == self._place and (p := next(pictures, None)):
                wanting += [(p.reason, p.name)] if p.failed else []
            if place_of_lock(self._folder) != self._place:
                wanting = [(f"run folder {self._folder} was moved", "all others")]
        except Exception as error:
            wanting = [(str(error), "all pictures")]
        for reason in dict(wanting):
            names = ", ".join(name for why, name in wanting if why == reason)
            for callback in run.callbacks:
                callback.on_message(f"not drawn: {names}: {reason}")
