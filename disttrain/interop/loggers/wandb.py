"""The logger `wandb`: Weights & Biases, offline unless `WANDB_MODE` says otherwise.

`wandb sync` sends what is in the run folder's `wandb` later.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import wandb

__all__ = ["Wandb"]


class Wandb:
    """Writes settings as the configuration and the numbers of each interval."""

    def start(self, name: str, folder: str, settings: dict[str, Any], step: int) -> None:
        """Begin a run of the project."""
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=name, name=Path(folder).name, dir=folder, config=settings,
            mode=mode,
        )  # fmt: skip

    def interval(self, step: int, numbers: dict[str, Any]) -> None:
        """Write the numbers."""
        self._run.log(numbers, step=step)

    def end(self, summary: dict[str, Any]) -> None:
        """Write how it ended."""
        self._run.summary.update({key: summary.get(key) for key in ("status", "digest", "ranks")})
        self._run.finish()
