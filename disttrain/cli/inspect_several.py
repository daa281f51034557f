"""What `disttrain inspect` says of an ensemble, a study or the folds of a cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disttrain.cli.columns import columns

__all__ = ["lines_of", "outcome_in"]


def outcome_in(path: Path) -> dict[str, Any] | None:
    """Return what the result file of several runs says, with its `path`; None for other paths.

    `path` is the file or its folder. Raises CheckpointError where the file can't be read.
    """
    from disttrain.errors import CheckpointError
    from disttrain.runs.watching import RESULTS
    from disttrain.written import json_of, text_of, why

    named = [path] if path.name in RESULTS else [path / name for name in RESULTS]
    for file in filter(Path.is_file, named):
        try:
            return {"format": file.stem, "path": str(file)} | json_of(text_of(file, 256 << 20))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} can't be read ({why(error)})") from None
    return None


def lines_of(facts: dict[str, Any]) -> list[str]:
    """Return what people are told of it; raises CheckpointError for what is no such file."""
    from disttrain.errors import CheckpointError

    try:
        return list(_lines_of(facts))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{facts['path']} is not what disttrain writes there: make it again"
        ) from None


def _lines_of(facts: dict[str, Any]) -> Iterator[str]:
    from disttrain.cli.ensemble import members_of

    if facts["format"] == "ensemble":
        yield f"ensemble: {facts['path']}, {len(facts['members'])} members"
        yield from members_of(facts)
    elif facts["format"] == "study":
        yield f"study: {facts['path']}, {facts['status']}"
        ends = Counter(row["status"] for row in facts["candidates"])
        yield f"candidates: {', '.join(f'{count} {status}' for status, count in ends.items())}"
        if best := facts["best"]:
            yield f"best: candidate {best['number']}, {facts['metric']} {best['score']:.6g}"
            yield from (f"  {key} = {value}" for key, value in best["settings"].items())
    else:
        yield f"folds: {facts['path']}, {facts['status']}"
        head = ("settings", facts["metric"], "deviation", "folds")
        yield from columns([head, *map(_of_settings, facts["settings"])])


def _of_settings(row: dict[str, Any]) -> tuple[str, str, str, str]:
    named = ", ".join(f"{key} = {value}" for key, value in row["settings"].items())
    mean, deviation = ("-" if row[k] is None else f"{row[k]:.6g}" for k in ("mean", "deviation"))
    return named or "as in the run file", mean, deviation, str(len(row["folds"]))
