"""Whether a run does what its classes say: a method that somebody replaced is not recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.data import Batches, Division, Feed, Normalization
from disttrain.model import Dense, Dropout, Network, Softmax, Squared
from disttrain.training.optimizer import Optimizer
from disttrain.training.reducers import LeafReducer, ProductReducer, ShareReducer

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["replaced"]

# What a recording stands for.
METHODS: dict[type, tuple[str, ...]] = {
    Batches: ("parts_of", "samples"),
    Division: ("parts",),
    Feed: ("__call__",),
    Normalization: ("apply",),
    Network: ("forward", "contexts"),
    Dense: ("forward",),
    Dropout: ("forward",),
    Softmax: ("forward",),
    Squared: ("forward",),
    Optimizer: ("step",),
    ShareReducer: ("open", "add", "sum_gradients"),
    LeafReducer: ("open", "add", "sum_gradients"),
    ProductReducer: ("open", "add", "sum_gradients"),
}
ORIGINALS: list[tuple[type, str, Any]] = [
    (kind, name, vars(kind)[name]) for kind, names in METHODS.items() for name in names
]
NAMES = {name for names in METHODS.values() for name in names}


def replaced(run: Run) -> bool:
    """Return whether a method that a recording stands for is no longer the program's own."""
    if any(vars(kind)[name] is not original for kind, name, original in ORIGINALS):
        return True
    work = run.work
    parts = (run.network, run.loss, run.optimizer, run.feed, work.batches,
             work.batches.division, work.reducer, *run.network.layers)  # fmt: skip
    return any(not NAMES.isdisjoint(vars(part)) for part in parts)
