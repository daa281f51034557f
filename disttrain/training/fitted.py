"""Settings that go by the data, each by itself where nobody has stated it.

They are the loss, the batch size, the learning rate, and how layers for numbers begin. A table of
150 rows is not learned in 20 epochs of two batches of 128.
"""

from __future__ import annotations

import math
from typing import Any

from disttrain.config import LayerTable, Settings
from disttrain.config.kinds import Optimizer, Sgd
from disttrain.data import Dataset

__all__ = [
    "as_begun",
    "batch_for",
    "chosen",
    "fitted",
    "rate_for",
    "times_of_form",
    "with_updates",
]

# A batch has at most a so-many-th of the training rows, a power of two, from LEAST to MOST rows.
STEPS, LEAST, MOST = 64, 16, 128
# The squared loss of numbers has a curvature that grows with the units of the layer before.
NUMBERS = 0.1
# The rates of SGD for MOST rows a batch and of Adam for many rows; for few it is so many times it.
RATE, ADAM, MOST_OF_ADAM = 0.1, 0.001, 5.0
# What depends on the data, or on the place where the run began, as section and key.
KEYS = (
    ("model", "loss"),
    ("training", "batch_size"),
    ("schedule", "learning_rate"),
    ("reproducibility", "mode"),
    ("reproducibility", "arithmetic"),
    ("reproducibility", "blas_threads"),
)


def fitted(settings: Settings, dataset: Dataset) -> Settings:
    """Return the settings with what is not stated chosen by the data, each key by itself.

    - `model.loss`: softmax for classes, squared for numbers;
    - `training.batch_size`: the largest power of two with 64 updates an epoch, from 16 to 128;
    - `schedule.learning_rate` of SGD, for batches of b rows: `0.1 √(min(b, 128) / 128)` (Hoffer et
      al., 2017), a tenth of it for numbers, `1/(1-β)` times it for the averaged form, whose updates
      are shorter; of Adam, whatever the batch, 0.001, and for n < 8,192 training rows
      `0.001 √(8192/n)`, at most 0.005: there are fewer steps;
    - the `initializer` of the dense layers of a network for numbers is "xavier": of the larger
      weights of "he" a network keeps much in few updates (docs/decisions.md).
    """
    model = settings.model
    keys: dict[str, dict[str, Any]] = {}
    if model.loss == "auto":
        keys["model"] = {"loss": "softmax" if dataset.classes else "squared"}
    if _are_numbers(settings, dataset) and any(
        _leaves_initializer(layer) for layer in model.layers
    ):
        layers = [_with_initializer(layer, "xavier") for layer in model.layers]
        keys.setdefault("model", {})["layers"] = layers
    keys |= _of_updates(settings, dataset)
    return settings.replace(**keys) if keys else settings


def with_updates(settings: Settings, dataset: Dataset) -> Settings:
    """Return the settings with the batch size and the rate that `fitted` chooses, and no more."""
    keys = _of_updates(settings, dataset)
    return settings.replace(**keys) if keys else settings


def _of_updates(settings: Settings, dataset: Dataset) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {}
    rows, batch = dataset.splits["train"].count, settings.training.batch_size
    mini = settings.training.protocol == "mini-batch"
    if mini and unstated(settings, "training", "batch_size"):
        batch = batch_for(rows)
        keys["training"] = {"batch_size": batch}
    if _leaves_rate(settings):
        numbers = _are_numbers(settings, dataset)
        keys["schedule"] = {"learning_rate": rate_for(settings.optimizer, rows, batch, numbers)}
    return keys


def _are_numbers(settings: Settings, dataset: Dataset) -> bool:
    return not dataset.classes and settings.model.loss in ("auto", "squared")


def batch_for(rows: int) -> int:
    """Return the batch size for so many training rows."""
    return min(MOST, max(LEAST, 1 << max(rows // STEPS, 1).bit_length() - 1))


def rate_for(optimizer: Optimizer, rows: int, batch: int | None, numbers: bool) -> float:
    """Return the rate of an optimizer for `rows` training rows in batches (None: all of them)."""
    if isinstance(optimizer, Sgd):
        rate = RATE * math.sqrt(min(batch or MOST, MOST) / MOST) * (NUMBERS if numbers else 1)
        rate *= times_of_form(optimizer)
    else:
        # A step is about as long as the rate, and few rows make few steps.
        rate = ADAM * min(MOST_OF_ADAM, max(1.0, math.sqrt(STEPS * MOST / rows)))
    return float(f"{rate:.2g}")


def times_of_form(optimizer: Optimizer) -> float:
    """Return how many times the classical rate gives updates as long: 1/(1-β) if averaged."""
    if isinstance(optimizer, Sgd) and optimizer.form == "averaged":
        return 1 / (1 - optimizer.momentum)
    return 1.0


def chosen(stated: Settings, now: Settings, rows: int) -> list[str]:
    """Return what the data chose of the batch size and the rate, as keys of a run file and why."""
    found, batch, kind = [], now.training.batch_size, now.optimizer.kind
    if now.training.protocol == "mini-batch" and unstated(stated, "training", "batch_size"):
        found.append(f"training.batch_size = {batch} for {rows:,} training rows")
    if _leaves_rate(stated):
        why = "batches of " + (f"{batch:,}" if batch else "all rows")
        if kind != "sgd":
            why = f"{kind} on {rows:,} training rows"
        found.append(f"schedule.learning_rate = {now.schedule.learning_rate:g} for {why}")
    return found


def _leaves_rate(settings: Settings) -> bool:
    # The result of a perceptron does not depend on the rate.
    free = settings.schedule.kind != "rates" and settings.model.loss != "perceptron"
    return free and unstated(settings, "schedule", "learning_rate")


def unstated(settings: Settings, section: str, key: str) -> bool:
    """Return True where the run file leaves a key out."""
    return key not in getattr(settings, section).model_fields_set


def _leaves_initializer(layer: LayerTable) -> bool:
    return layer.kind == "dense" and "initializer" not in layer.model_fields_set


def _with_initializer(layer: LayerTable, name: str) -> dict[str, Any]:
    """Return a layer that begins so, where it does not state how."""
    table = layer.model_dump(exclude_none=True, exclude_unset=True) | {"kind": layer.kind}
    return table | ({"initializer": name} if _leaves_initializer(layer) else {})


def as_begun(settings: Settings, before: Settings) -> Settings:
    """Return `settings` with what they leave to the data as it was in the run `before`."""
    keys: dict[str, dict[str, Any]] = {}
    for section, key in KEYS:
        old, now = getattr(before, section), getattr(settings, section)
        same_kind = getattr(old, "kind", "") == getattr(now, "kind", "")
        left = unstated(settings, section, key) or getattr(now, key, "") == "auto"
        if left and same_kind and key in type(old).model_fields:
            keys.setdefault(section, {})[key] = getattr(old, key)
    pairs = list(zip(settings.model.layers, before.model.layers, strict=False))
    if len(settings.model.layers) == len(before.model.layers) and any(
        _leaves_initializer(layer) for layer in settings.model.layers
    ):
        keys.setdefault("model", {})["layers"] = [
            _with_initializer(now, getattr(old, "initializer", "auto")) for now, old in pairs
        ]
    return settings.replace(**keys) if keys else settings
