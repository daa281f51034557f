"""Libraries that are extras of disttrain: imported when asked for, or one sentence."""

from __future__ import annotations

import importlib
from typing import Any

from disttrain.errors import UsageError

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """Return the imported `module`, which `what` needs. Raises UsageError where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise UsageError(
            f"{what} needs {missing}, which is not installed: pip install 'disttrain[{extra}]'"
        ) from None
