"""Setting aside part of the training rows for validation: seeded, and stratified by class."""

from __future__ import annotations

import numpy as np

from disttrain.arrays import permutation

__all__ = ["set_aside"]


def set_aside(targets: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay and the rows set aside, both rising (int64).

    `floor(fraction * rows)` rows are set aside; where `targets` are classes (integers), of each
    class its part to within one row.
    """
    rows = len(targets)
    chosen = permutation(rows, seed, "validation split")
    if targets.dtype.kind in "iu":
        chosen = chosen[np.argsort(targets[chosen], kind="stable")]
    # Of the rows, class after class, each one at which the running share passes a whole number.
    share = np.floor(np.arange(1, rows + 1) * fraction + 1e-9)
    taken = np.diff(share, prepend=0.0) > 0
    return np.sort(chosen[~taken]), np.sort(chosen[taken])
