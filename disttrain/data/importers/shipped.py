"""Finds the folders in which the real data that ships with disttrain may lie."""

from __future__ import annotations

from pathlib import Path

import disttrain

__all__ = ["shipped_folders"]


def shipped_folders(name: str) -> tuple[Path, Path]:
    """Return where data/`name` may be: in the current folder, and beside the package."""
    (package,) = disttrain.__path__
    return Path("data", name), Path(package).parent / "data" / name
