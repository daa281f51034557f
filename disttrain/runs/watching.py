"""What the files of a running job say: of one run, or of a folder of runs side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.errors import CheckpointError, DisttrainError
from disttrain.shown import decimals
from disttrain.written import PAUSED, intervals_of, json_of, records_of, summary_of, text_of

__all__ = [
    "OneRun",
    "SeveralRuns",
    "heard",
    "journals",
    "last",
    "line",
    "look",
    "news",
]

# Ranks that are shown, lines of a journal that are read, runs of a folder that are shown.
RANKS, LINES, RUNS = 256, 100_000, 2000
# What a folder of several runs ends with.
RESULTS = ("study.json", "folds.json", "ensemble.json")


@dataclass(frozen=True)
class OneRun:
    """A run as far as it is written: `status` is None while it is under way, or was killed.

    That of a candidate which waits for the others of its generation is "paused".
    """

    folder: Path
    name: str
    epochs: int
    history: list[dict[str, Any]]
    status: str | None = None
    digest: str | None = None
    ranks: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True where the run has ended, in whatever way."""
        return self.status not in (None, PAUSED)

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return float(self.history[-1]["epoch"]) if self.history else 0.0


@dataclass(frozen=True)
class SeveralRuns:
    """The runs of a search, a cross-validation or an ensemble; `told` is what their file says."""

    folder: Path
    runs: list[OneRun]
    told: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """True where all of it has ended."""
        return bool(self.told) and self.told.get("status", "completed") != "running"


def look(folder: Path) -> OneRun | SeveralRuns:
    """Return what the files in a folder say. Raises CheckpointError where there is nothing yet."""
    if os.path.lexists(folder / "run.toml") or os.path.lexists(folder / "logs"):
        return one(folder, journals(folder))
    places = sorted(path.parent for path in folder.glob("*/*/run.toml"))
    told: dict[str, Any] = {}
    for name in RESULTS:
        with suppress(OSError, ValueError):
            told = told or json_of(text_of(folder / name, 64 << 20))
    runs = [*candidates(folder, places[:RUNS], told), *folds(folder / "folds.jsonl")]
    if not runs and not told:
        raise CheckpointError(
            f"{folder} holds no run and no study: give the folder of a job that has begun"
        )
    return SeveralRuns(folder, runs, told)


def candidates(folder: Path, places: Sequence[Path], told: dict[str, Any]) -> Iterator[OneRun]:
    """Yield the runs of a folder; how a candidate ended is what its study says of it."""
    rows = told.get("candidates")
    known = {row.get("path"): row.get("status") for row in rows or () if isinstance(row, dict)}
    for place in places:
        run = one(place)
        status = known.get(place.relative_to(folder).as_posix())
        if not isinstance(status, str) and run.status == "preempted":
            status = PAUSED if told.get("status") == "running" else None
        yield replace(run, status=status) if isinstance(status, str) else run


def folds(log: Path) -> Iterator[OneRun]:
    """Yield the folds of a cross-validation that have ended, as its log says; they have no folder.

    A name begins with the number of the settings; the only interval has the score of the fold.
    """
    size = 1
    with suppress(OSError, ValueError, KeyError, TypeError):
        for number, entry in enumerate(records_of(log, lambda event: None)):
            told = entry["record"]
            if number == 0:
                size = told["folds"] * told["repeats"]
                continue
            name = f"{told['number'] // size + 1}: repeat {told['repeat']}"
            last = {"epoch": told["epochs"] or 0.0, "validation_loss": told["loss"],
                    "validation_accuracy": told["accuracy"]}  # fmt: skip
            yield OneRun(
                log.parent, f"{name} fold {told['fold']}", round(last["epoch"]), [last],
                told["status"], told["digest"],
            )  # fmt: skip


def one(folder: Path, ranks: dict[int, list[dict[str, Any]]] | None = None) -> OneRun:
    """Return what the files of a run say; lines that are being written are none yet."""
    history: list[dict[str, Any]] = []
    with suppress(OSError, ValueError):
        for interval in intervals_of(folder / "metrics.jsonl"):
            history.append(interval)
    name, epochs, summary = folder.name, 0, {}
    with suppress(DisttrainError):
        settings = config.read(folder / "run.toml")
        name, epochs = settings.name, settings.training.epochs
    with suppress(OSError, ValueError):
        summary = summary_of(folder / "summary.json")
    return OneRun(
        folder, name, epochs, history, summary.get("status"), summary.get("digest"), ranks or {}
    )


def journals(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Return the lines of each rank's journal since its last start; a damaged end is left out."""
    found = {}
    for path in sorted(folder.glob("logs/rank-*.jsonl"))[:RANKS]:
        events: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):
            for number, event in enumerate(records_of(path, lambda event: None)):
                if number == LINES:
                    break
                if event.get("event") == "start":
                    events = []
                events.append(event)
        if events and path.stem[5:].isdecimal():
            found[int(path.stem[5:])] = events
    return found


def last(events: list[dict[str, Any]], key: str) -> Any:
    """Return what a rank's journal said of `key` last, a dash where it never did."""
    return next((event[key] for event in reversed(events) if key in event), "–")


def heard(events: list[dict[str, Any]], now: datetime | None = None) -> float | None:
    """Return how many seconds ago a rank wrote into its journal last."""
    try:
        then = datetime.fromisoformat(str(events[-1]["time"]))
        return max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    except (KeyError, ValueError, TypeError, IndexError):
        return None


def news(view: OneRun | SeveralRuns) -> Iterator[tuple[str, str]]:
    """Yield a key and a line for each thing that is done: intervals, or runs that have ended."""
    if isinstance(view, OneRun):
        for interval in view.history:
            yield f"step {interval['step']}", line(interval, view.epochs)
    else:
        for run in view.runs:
            if run.is_over:
                words = line(run.history[-1], run.epochs) if run.history else ""
                yield run.name, f"{run.name}: {run.status}  {words}"


def line(interval: dict[str, Any], epochs: int) -> str:
    """Return an interval as a line for people."""
    parts = [f"epoch {interval['epoch']:6.2f}/{epochs}"]
    for split in ("train", "validation"):
        loss, accuracy = interval.get(f"{split}_loss"), interval.get(f"{split}_accuracy")
        if loss is not None:
            right = "" if accuracy is None else f" accuracy {accuracy:.4f}"
            parts.append(f"{split} loss {decimals(loss)}{right}")
    if "learning_rate" in interval:
        parts.append(f"rate {interval['learning_rate']:.4g}")
        parts.append(f"{interval['samples_per_second']:,.0f} samples/s")
    return "  ".join(parts)
