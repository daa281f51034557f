"""A script's arguments as settings: layers in any form, a schedule as a function of the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from disttrain.config import LayerTable, Settings, layer_of
from disttrain.errors import UsageError
from disttrain.model import BUILT_IN, Dropout, Layer
from disttrain.shown import quoted
from disttrain.training.callbacks import Callback
from disttrain.training.predictor import layer_from

__all__ = ["as_callbacks", "as_objects", "as_tables", "rates_of"]

Given = int | Mapping[str, Any] | LayerTable | Layer


def as_callbacks(callbacks: Sequence[Callback] | Callback) -> list[Callback]:
    """Return the callbacks as a list. Raises UsageError for what is none."""
    found = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in found:
        if not isinstance(callback, Callback):
            raise UsageError(
                f"callbacks has {quoted(callback)}: give objects of a subclass of "
                "disttrain.Callback"
            )
    return found


def as_objects(layers: Sequence[Given]) -> list[Layer] | None:
    """Return the layers as objects where one is of the user's own class, else None."""
    _refuse_no_list(layers)
    if all(_is_built_in(layer) or not isinstance(layer, Layer) for layer in layers):
        return None
    return [layer if isinstance(layer, Layer) else _made(layer) for layer in layers]


def as_tables(layers: Sequence[Given]) -> dict[str, Any]:
    """Return the keys of the section `model` for `layers`.

    For a layer of the user's own class it is a dense layer of as many units, which only says so in
    the run file: the object is given besides.
    """
    _refuse_no_list(layers)
    keys: dict[str, Any] = {"layers": []}
    for layer in layers:
        last = keys["layers"][-1] if keys["layers"] else None
        if type(layer) is Dropout and (not last or _takes_dropout(last)):
            _last(keys)["dropout" if last else "input_dropout"] = layer.rate
        elif _is_built_in(layer):
            stated = {k: v for k, v in vars(layer).items() if (k, v) != ("initializer", "auto")}
            keys["layers"].append({"kind": layer.kind, **stated})
        elif isinstance(layer, Layer):
            keys["layers"].append({"units": getattr(layer, "units", 1)})
        else:
            keys["layers"].append({"units": layer} if isinstance(layer, int) else layer)
    return keys


def rates_of(schedule: Callable[[int], float], settings: Settings) -> list[float]:
    """Return the learning rate of each epoch: `schedule(0)`, `schedule(1)`, ..."""
    rates = []
    for epoch in range(settings.training.epochs):
        rate = schedule(epoch)
        if not _is_rate(rate):
            raise UsageError(
                f"schedule({epoch}) returned {rate!r}: it must return the learning rate of epoch "
                f"{epoch} (the first is 0), a number that is not negative"
            )
        rates.append(float(rate))
    return rates


def _is_rate(rate: Any) -> bool:
    try:
        return math.isfinite(rate) and rate >= 0
    except TypeError:
        return False


def _refuse_no_list(layers: Any) -> None:
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise UsageError(
            f"layers are {quoted(layers)}: give a list, one entry a layer, such as [800, 10] or "
            "[disttrain.Dense(800, 'relu'), disttrain.Dense(10)]"
        )


def _last(keys: dict[str, Any]) -> dict[str, Any]:
    if not keys["layers"]:
        return keys
    keys["layers"][-1] = last = dict(keys["layers"][-1])
    return last


def _is_built_in(layer: Any) -> TypeGuard[Layer]:
    return type(layer) in BUILT_IN.values()


def _takes_dropout(table: Mapping[str, Any]) -> bool:
    return table.get("kind", "dense") in ("dense", "conv") and not table.get("dropout")


def _made(given: Any) -> Layer:
    table = given if isinstance(given, LayerTable) else layer_of(
        {"units": given} if isinstance(given, int) else given
    )  # fmt: skip
    return layer_from(table)
