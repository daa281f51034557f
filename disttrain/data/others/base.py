"""What every reader of a file that a network is used on is asked for, and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.dataset import Split
from disttrain.data.source import JoinedRows
from disttrain.errors import UsageError

__all__ = ["Other", "Wanted", "chosen", "joined", "refuse_split"]


@dataclass(frozen=True)
class Wanted:
    """Which samples of a file: those of `split` (None: all), with targets where `labelled`.

    `labels` is a table with the classes of the images in a folder; None: its folders are classes.
    """

    split: str | None = None
    labelled: bool = True
    labels: Path | None = None


@dataclass(frozen=True)
class Other:
    """Samples of a file, and what each is called there: `names` are rows, or files of images.

    `parts` says of which split each sample is, where there are several. `notes` are sentences about
    what was passed over.
    """

    split: Split
    names: Sequence[Any]
    parts: Sequence[str] = ()
    kind: str = "row"
    notes: Sequence[str] = ()


def joined(splits: dict[str, Split], path: object, notes: Sequence[str] = ()) -> Other:
    """Return all samples of the splits of a file; they are called by their rows."""
    if len(splits) == 1:
        split = next(iter(splits.values()))
        return Other(split, range(split.count), notes=notes)
    names = [row for split in splits.values() for row in range(split.count)]
    parts = [name for name, split in splits.items() for _ in range(split.count)]
    counts = ", ".join(f"{split.count} of {name}" for name, split in splits.items())
    note = f"{path} is used whole, with {counts}: --split takes one of these"
    rows = JoinedRows([split.rows for split in splits.values()])
    targets = np.concatenate([split.targets for split in splits.values()])
    weights = None
    if any(split.weights is not None for split in splits.values()):
        weights = np.concatenate(
            [np.ones(s.count, np.float32) if s.weights is None else s.weights
             for s in splits.values()]
        )  # fmt: skip
    return Other(Split("whole", rows, targets, weights), names, parts, notes=(note, *notes))


def chosen(found: Sequence[str], path: Path, split: str | None) -> list[str]:
    """Return the splits that are wanted of those that were found. Raises UsageError."""
    if split is not None and split not in found:
        raise UsageError(f"{path} has no split {split!r}: --split takes one of {', '.join(found)}")
    return [split] if split is not None else list(found)


def refuse_split(path: Path, split: str | None) -> None:
    """Raise UsageError where a split is asked for of a file that has none."""
    if split is not None:
        raise UsageError(f"{path} has no splits and is used whole: leave --split {split} out")
