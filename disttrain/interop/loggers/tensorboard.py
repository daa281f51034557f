"""The logger `tensorboard`: event files in the run folder's `tensorboard`, by tensorboardX."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# tensorboardX imports PyTorch where that is installed: seconds, for nothing that is used here.
sys.modules.setdefault("torch", None)  # type: ignore[arg-type]

from tensorboardX import SummaryWriter  # noqa: E402

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes each number as a scalar; settings and summary as texts."""

    def start(self, name: str, folder: str, settings: dict[str, Any], step: int) -> None:
        """Open the event file; those of a run that this one replaces are removed."""
        where = Path(folder) / "tensorboard"
        if not step:
            for old in where.glob("events.out.tfevents.*"):
                old.unlink()
        self._writer = SummaryWriter(str(where), purge_step=step + 1 if step else None)
        lines = "\n".join(f"    {key} = {value}" for key, value in settings.items())
        self._writer.add_text("settings", lines, step)

    def interval(self, step: int, numbers: dict[str, Any]) -> None:
        """Write the numbers, and let others see them."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def end(self, summary: dict[str, Any]) -> None:
        """Write the summary."""
        self._writer.add_text("summary", f"    {json.dumps(summary)}", summary.get("steps", 0))
        self._writer.close()
