"""What the ranks' journals say: where each ran, its memory, its time and its failures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disttrain.report.page import Lines, Section, Table
from disttrain.runs.watching import journals, last

__all__ = ["rank_sections"]


def rank_sections(
    folder: Path, history: list[dict[str, Any]], summary: dict[str, Any]
) -> Iterator[Section]:
    """Yield the table of the ranks, the time of the run, and the errors that ranks wrote down."""
    found = journals(folder)
    if found:
        rows = [_row(rank, events) for rank, events in found.items()]
        head = ["rank", "host", "cores", "device", "memory", "saving", "slow phases", "last event"]
        yield Section("Ranks", [Table(head, rows)], _time(found, history, summary))
    lines = [
        f"rank {rank}: {event.get('text')} (in {event.get('phase', 'no phase')})"
        for rank, events in found.items()
        for event in events
        if event.get("event") in ("error", "deadline passed", "deadline near") and "text" in event
    ]
    if lines:
        yield Section("What the ranks' journals say of failures", [Lines(lines)])


def _row(rank: int, events: list[dict[str, Any]]) -> list[str]:
    """Return what one rank's journal says, as a row."""
    cores, memory = last(events, "cores"), last(events, "memory_mib")
    return [
        str(rank), str(last(events, "host")),
        str(len(cores) if isinstance(cores, list) else cores),
        str(last(events, "device")), f"{memory} MiB", f"{_seconds(events, 'saved'):.2f} s",
        f"{_seconds(events, 'slow phase'):.1f} s", f"{last(events, 'event')}",
    ]  # fmt: skip


def _seconds(events: list[dict[str, Any]], kind: str) -> float:
    """Return the time that all events of a kind took."""
    times = [event.get("seconds") for event in events if event.get("event") == kind]
    return math.fsum(t for t in times if isinstance(t, int | float))


def _time(
    found: dict[int, list[dict[str, Any]]], history: list[dict[str, Any]], summary: dict[str, Any]
) -> str:
    """Return a sentence about where the time of this start went."""
    wall = summary.get("wall_seconds")
    if not isinstance(wall, float) or not history:
        return ""
    steps = math.fsum(interval["seconds"] for interval in history)
    saving = _seconds(found.get(0, []), "saved")
    return (
        f"All updates took {steps:.1f} s; this start took {wall:.1f} s, of which saving "
        f"{saving:.1f} s. What remains is opening the data, validation and the start itself."
    )
