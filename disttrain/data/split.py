"""Setting aside part of the training rows for validation: seeded, and stratified by class."""

from __future__ import annotations

import numpy as np

from disttrain.arrays import permutation

__all__ = ["set_aside"]


def set_aside(
    targets: np.ndarray, fraction: float, seed: int, purpose: str = "validation split"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay and the rows set aside, both rising (int64).

    `floor(fraction * rows)` rows are set aside. Where `targets` are classes (integers), that is
    this fraction of each class, to within two rows, and never its last row: where each class has a
    single row, none is set aside.
    """
    rows = len(targets)
    chosen = permutation(rows, seed, purpose)
    classes = targets.dtype.kind in "iu"
    if classes:
        chosen = chosen[np.argsort(targets[chosen], kind="stable")]
    # Of the rows, class after class, each one at which the running share passes a whole number.
    share = np.floor(np.arange(1, rows + 1) * fraction + 1e-9)
    taken = np.diff(share, prepend=0.0) > 0
    if classes:
        _keep_every_class(taken, targets[chosen])
    return np.sort(chosen[~taken]), np.sort(chosen[taken])


def _keep_every_class(taken: np.ndarray, classes: np.ndarray) -> None:
    """Give each class (`classes` rise) that lost all rows one back, in exchange for another."""
    starts = np.flatnonzero(np.diff(classes, prepend=classes[0] - 1))
    sizes = np.diff(starts, append=len(classes))
    kept = sizes - np.add.reduceat(taken, starts, dtype=np.int64)
    for group in np.flatnonzero(kept == 0):
        taken[starts[group]] = False
        kept[group] = 1
        if kept.max() > 1:
            # The class with most rows left gives one; of equals the first.
            giver = int(np.argmax(kept))
            rows = np.arange(starts[giver], starts[giver] + sizes[giver])
            taken[rows[~taken[rows]][-1]] = True
            kept[giver] -= 1
