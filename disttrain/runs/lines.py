"""Files of a run folder that grow by lines of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from disttrain.errors import CheckpointError

__all__ = ["append", "line"]


def line(report: dict[str, Any]) -> str:
    """Return one interval as a line of `metrics.jsonl` or `digests.jsonl`."""
    return json.dumps(report, allow_nan=False) + "\n"


def append(path: Path, text: str, durable: bool) -> None:
    """Append `text` to a file; if `durable` it is on disk then. Raises CheckpointError."""
    try:
        with open(path, "a", encoding="utf-8", opener=_never_waiting) as file:
            file.write(text)
            if durable:
                os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(
            f"{path} can't be written ({error.strerror}): make room; --resume goes on "
            "from the newest checkpoint"
        ) from None


def _never_waiting(path: str, flags: int) -> int:
    """Open a file without waiting: a pipe at that path raises an error."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)
