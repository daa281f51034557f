"""Whether a run does what its classes say, and what a recording holds of its layers' settings.

A method that somebody replaced is not recorded; settings that somebody changed are noted anew.
"""

from __future__ import annotations

from operator import attrgetter, eq
from typing import TYPE_CHECKING, Any

from disttrain.data import Batches, Division, Feed, Normalization
from disttrain.model import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    Network,
    Perceptron,
    Softmax,
    Squared,
)
from disttrain.model.layers.pooling import Pool
from disttrain.model.losses import SquaredInUnits, WeightedSoftmax
from disttrain.training.optimizer import Optimizer
from disttrain.training.reducers import LeafReducer, ProductReducer, ShareReducer

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["instances", "replaced", "same", "settings_of"]

# What a recording stands for.
METHODS: dict[type, tuple[str, ...]] = {
    Batches: ("parts_of", "samples", "weights", "divisor"),
    Division: ("parts",),
    Feed: ("__call__",),
    Normalization: ("apply",),
    Network: ("forward", "contexts", "predict"),
    Dense: ("forward",),
    Dropout: ("forward",),
    Conv: ("forward",),
    Pool: ("forward",),
    Flatten: ("forward",),
    LayerNorm: ("forward",),
    BatchNorm: ("forward", "asking"),
    Softmax: ("forward",),
    WeightedSoftmax: ("forward",),
    Perceptron: ("forward",),
    Squared: ("forward",),
    SquaredInUnits: ("forward",),
    Optimizer: ("step",),
    ShareReducer: ("open", "add", "sum_gradients"),
    LeafReducer: ("open", "add", "sum_gradients"),
    ProductReducer: ("open", "add", "sum_gradients"),
}
ORIGINALS = [
    (kind, methods := attrgetter(*names), methods(kind)) for kind, names in METHODS.items()
]
NAMES = {name for names in METHODS.values() for name in names}


def instances(run: Run) -> list[dict[str, Any]]:
    """Return the attributes of all objects whose methods a recording stands for."""
    work = run.work
    parts = (run.network, run.loss, run.optimizer, run.feed, work.batches,
             work.batches.division, work.reducer, *run.network.layers)  # fmt: skip
    return [vars(part) for part in parts]


def replaced(attributes: list[dict[str, Any]]) -> bool:
    """Return whether a class, or one of these objects, has a method that is not the original."""
    for kind, methods, original in ORIGINALS:
        if methods(kind) != original:
            return True
    return not all(map(NAMES.isdisjoint, attributes))


def settings_of(run: Run) -> list[dict[str, Any]]:
    """Return what the layers and the loss are made with, as it is now."""
    return [dict(vars(part)) for part in (run.loss, *run.network.layers)]


def same(settings: list[dict[str, Any]], run: Run) -> bool:
    """Return whether the layers and the loss still have these settings."""
    try:
        return all(map(eq, settings, map(vars, (run.loss, *run.network.layers))))
    except ValueError:  # another array
        return False
