"""Callbacks: what rank 0 calls while a run goes on."""

from __future__ import annotations

from typing import Any

from disttrain.checkpoint.state import Report

__all__ = ["Callback"]


class Callback:
    """Called on rank 0 alone; an exception in it ends the run on all ranks.

    `run` is the `Run`. Don't change its weights or state: the other ranks would not see it.
    """

    def on_start(self, run: Any) -> None:
        """Before the first step of this start of the run."""

    def on_step(self, run: Any, step: int) -> None:
        """Before the gradients of `step` are computed: keep it short."""

    def on_interval(self, run: Any, report: Report) -> None:
        """After the validation of an interval."""

    def on_message(self, line: str) -> None:
        """For one line that people should read."""

    def on_warning(self, line: str) -> None:
        """For one line that people should read even where they asked for silence."""
        self.on_message(line)

    def on_stop(self) -> None:
        """However the training ended: release what `on_start` opened."""

    def on_end(self, run: Any, summary: dict[str, Any]) -> None:
        """After the summary is known."""
