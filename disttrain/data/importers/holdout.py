"""Takes test rows out of the training rows, the same fraction of every class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from disttrain.arrays import permutation
from disttrain.data.importers import Imported
from disttrain.data.importers.spool import taken
from disttrain.errors import DataError, UsageError

__all__ = ["hold_out"]


def hold_out(imported: Imported, fraction: float, seed: int, room: Path | None = None) -> Imported:
    """Return `imported` with about `fraction` of its training rows moved to a split `test`.

    Of n rows, round(n · fraction) are moved, divided over the classes in proportion; the last row
    of a class always stays. Drawn from `seed`. Rows that lie in a file go to others in the folder
    `room`. A fraction of 0 changes nothing. Raises UsageError for a fraction that is not in [0, 1)
    or where there are test rows already, DataError where nothing would be left on one side.
    """
    if fraction == 0:
        return imported
    if not 0 < fraction < 1:
        raise UsageError(f"the test fraction is {fraction}, but must be at least 0 and below 1")
    if "test" in imported.splits:
        raise UsageError("there are test rows already: leave the test fraction out")
    inputs, targets = imported.splits["train"]
    order = permutation(len(inputs), seed, "test rows")
    bounds = np.array([0, len(inputs)])
    if targets.dtype == np.int64:
        order = order[np.argsort(targets[order], kind="stable")]
        bounds = np.concatenate(([0], np.cumsum(np.bincount(targets))))
    sizes = np.diff(bounds)
    # Differences of a rounded running total: proportional, and they add up to the total.
    quotas = np.diff(bounds * round(len(inputs) * fraction) // len(inputs))
    quotas = np.minimum(quotas, np.maximum(sizes - 1, 0))
    place = np.arange(len(inputs)) - np.repeat(bounds[:-1], sizes)
    is_test = np.empty(len(inputs), dtype=bool)
    is_test[order] = place < np.repeat(quotas, sizes)
    if not is_test.any():
        raise DataError(
            f"a test fraction of {fraction} of {len(inputs)} rows leaves none to test on: "
            "give a larger one, or more rows"
        )
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    splits = {
        **imported.splits,
        "train": (taken(inputs, train, room), targets[train]),
        "test": (taken(inputs, test, room), targets[test]),
    }
    weights = dict(imported.weights)
    if "train" in weights:
        weights |= {"train": weights["train"][train], "test": weights["train"][test]}
    return replace(imported, splits=splits, weights=weights)
