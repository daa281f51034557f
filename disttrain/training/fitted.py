"""Settings that go by the data where nobody has stated them: the loss; for small tables the step.

A table of 150 rows is not learned in 20 epochs of two batches of 128.
"""

from __future__ import annotations

import math
from typing import Any

from disttrain.config import LayerTable, Settings
from disttrain.data import Dataset

__all__ = ["as_begun", "fitted"]

# A batch has at most a so-many-th of the training rows, a power of two, and at least LEAST rows.
STEPS, LEAST = 64, 16
# The squared loss of numbers has a curvature that grows with the units of the layer before.
NUMBERS = 0.1
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
    """Return the settings with what is not stated chosen by the data.

    - `model.loss`: softmax for classes, squared for numbers;
    - where neither of these two is stated, for SGD: `training.batch_size` b is the largest power
      of two that gives 64 updates an epoch, from 16 to 128, and `schedule.learning_rate` is
      `0.1 √(b/128)` (Hoffer et al., 2017);
    - `schedule.learning_rate` of SGD for numbers is a tenth of that;
    - the `initializer` of the dense layers of a network for numbers is "xavier": of the larger
      weights of "he" a network keeps much in few updates (docs/decisions.md).
    """
    model, training, schedule = settings.model, settings.training, settings.schedule
    keys: dict[str, dict[str, Any]] = {}
    if model.loss == "auto":
        keys["model"] = {"loss": "softmax" if dataset.classes else "squared"}
    numbers = not dataset.classes and model.loss in ("auto", "squared")
    if numbers and any(_leaves_initializer(layer) for layer in model.layers):
        layers = [_with_initializer(layer, "xavier") for layer in model.layers]
        keys.setdefault("model", {})["layers"] = layers
    stated = schedule.kind == "rates" or not unstated(settings, "schedule", "learning_rate")
    if settings.optimizer.kind == "sgd" and not stated:
        rate, whole = schedule.learning_rate, training.batch_size or 1
        if training.protocol == "mini-batch" and unstated(settings, "training", "batch_size"):
            rows = max(dataset.splits["train"].count // STEPS, 1)
            batch = min(whole, max(LEAST, 1 << rows.bit_length() - 1))
            keys["training"], rate = {"batch_size": batch}, rate * math.sqrt(batch / whole)
        keys["schedule"] = {"learning_rate": float(f"{rate * (NUMBERS if numbers else 1.0):.2g}")}
    return settings.replace(**keys) if keys else settings


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
