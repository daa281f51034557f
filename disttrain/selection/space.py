"""The space of a search: the values that keys may take, and a part of it around the best."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from disttrain import config
from disttrain.config import Range, Settings, Stage
from disttrain.errors import RunFileError
from disttrain.shown import quoted

__all__ = ["Axis", "axes_of", "count_of", "grid", "random", "settings_of", "zoomed"]

# Digits of a number that is drawn: enough to tell candidates apart, few enough to read.
DIGITS = 4
COUNT = "model.layers.count"
EACH = "model.layers.*."
# As the run file allows.
MOST_LAYERS = 1000


@dataclass(frozen=True)
class Axis:
    """What one key may take: `choices`, or numbers from `low` to `high`."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    steps: int | None = None

    def at(self, part: float) -> Any:
        """Return the value at a `part` of the way (0 to 1, without 1) from the first to the last.

        Whole numbers and choices have each the same length of the way.
        """
        if self.choices:
            return self.choices[int(part * len(self.choices))]
        wide = self.high + 1 if self.integer else self.high
        if self.log:
            value = self.low * (wide / self.low) ** part
        else:
            value = self.low + part * (wide - self.low)
        return min(int(value), int(self.high)) if self.integer else self.rounded(value)

    def rounded(self, value: float) -> float:
        """Return a number of the axis with few digits."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def ends(self) -> list[Any]:
        """Return all choices, or the two ends of the range."""
        if self.choices:
            return list(self.choices)
        return [int(end) if self.integer else end for end in (self.low, self.high)]

    def grid(self) -> list[Any]:
        """Return the values of a grid: all choices, or `steps` numbers with both ends."""
        if self.choices:
            return list(self.choices)
        assert self.steps is not None, "a grid has steps: the study file was checked for that"
        found: list[int | float] = []
        for number in range(self.steps):
            part = number / (self.steps - 1)
            if self.log:
                value = self.low * (self.high / self.low) ** part
            else:
                value = self.low + part * (self.high - self.low)
            found.append(round(value) if self.integer else self.rounded(value))
        return list(dict.fromkeys(found))

    def zoomed(self, best: Any, part: float) -> Axis:
        """Return the `part` of this axis around `best`, moved where it would leave the axis.

        Of choices that are numbers these are the nearest in the list; of others the best alone.
        """
        if self.choices:
            place = self.choices.index(best)
            ordered = all(type(choice) in (int, float) for choice in self.choices)
            width = max(1, math.ceil(part * len(self.choices))) if ordered or part == 1 else 1
            low = min(max(0, place - width // 2), len(self.choices) - width)
            return replace(self, choices=self.choices[low : low + width])
        scale, back = (math.log, math.exp) if self.log else (float, float)
        first, last, middle = scale(self.low), scale(self.high), scale(best)
        size = part * (last - first)
        first = min(max(first, middle - size / 2), last - size)
        ends = [self.rounded(back(end)) for end in (first, first + size)]
        if self.integer:
            ends = [float(round(end)) for end in ends]
        return replace(self, low=ends[0], high=ends[1])


def axes_of(space: Mapping[str, Range]) -> list[Axis]:
    """Return the axes of a study file's space, in its order."""
    return [
        Axis(
            key, tuple(given.choices or ()), float(given.low or 0), float(given.high or 0),
            given.scale == "log", _is_integer(key, given), given.steps,
        )
        for key, given in space.items()
    ]  # fmt: skip


def _is_integer(key: str, given: Range) -> bool:
    """Tell whether an axis has whole numbers: of layers there are so many, 1.0 as well as 1."""
    ends = (given.low, given.high)
    whole = all(end is not None and float(end).is_integer() for end in ends)
    return given.is_integer or (key == COUNT and whole)


def zoomed(axes: Sequence[Axis], best: Mapping[str, Any], part: float) -> list[Axis]:
    """Return the part of the space around the settings `best`."""
    return [axis.zoomed(best[axis.key], part) for axis in axes]


def random(axes: Sequence[Axis], seed: int, stage: int, number: int) -> dict[str, Any]:
    """Return random settings: a function of the seed, the stage, the number and the key alone."""
    found = {}
    for axis in axes:
        text = f"{seed}:{stage}:{number}:{axis.key}"
        bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
        found[axis.key] = axis.at(bits / (1 << 48))
    return found


def grid(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the settings of all points of a grid, the last key changing fastest."""
    keys = [axis.key for axis in axes]
    points = itertools.product(*(axis.grid() for axis in axes))
    return [dict(zip(keys, point, strict=True)) for point in points]


def count_of(stage: Stage, axes: Sequence[Axis]) -> int:
    """Return how many candidates a stage has."""
    if stage.kind == "grid":
        return math.prod(len(axis.grid()) for axis in axes)
    return stage.candidates or 0


def _layer(key: str) -> int:
    """Return the number of the layer that a key belongs to; -1 where it is of none."""
    names = key.split(".")
    return int(names[2]) if names[:2] == ["model", "layers"] and names[2:] else -1


def settings_of(
    run_file: str, values: Mapping[str, Any], sets: Sequence[str] = (), own: Mapping[str, Any] = {}
) -> Settings:
    """Return the settings of a run file with these values; `own` keys are changed before.

    A whole table or list is put before its parts, whatever their order, and `model.layers.*.units`,
    the units of every hidden layer, before those of one. `model.layers.count` is the number of
    layers: the last hidden one is repeated, or the last hidden ones are left out. Values for a
    layer that is not there then count for nothing.
    """
    plain = {key: values[key] for key in sorted(values, key=_depth)}
    whole = [key for key in ("model", "model.layers") if key in plain]
    known = dict(own) | {key: plain.pop(key) for key in whole}
    base = config.read(run_file, sets, known)
    layers = [layer.model_dump(exclude_unset=True) for layer in base.model.layers]
    if COUNT in plain:
        known["model.layers"] = layers = _of_count(plain.pop(COUNT), layers)
    last = len(layers) - 1
    for key, value in plain.items():
        if key.startswith(EACH):
            known |= {key.replace("*", str(number)): value for number in range(last)}
        elif COUNT not in values or _layer(key) < last:
            known[key] = value
    return config.read(run_file, sets, known)


def _depth(key: str) -> tuple[int, bool]:
    """Return what sorts keys so that each comes before those that change a part of its value."""
    return key.count("."), not key.startswith(EACH)


def _of_count(count: Any, layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return so many layers, each a table of its own."""
    if type(count) is float and count.is_integer():
        count = int(count)
    if type(count) is not int or not 1 <= count <= MOST_LAYERS:
        raise RunFileError(
            f"{COUNT} = {quoted(count)}: give a whole number; a network has at least 1 layer and "
            f"at most {MOST_LAYERS}"
        )
    *hidden, last = layers
    if count > 1 and not hidden:
        raise RunFileError(f"{COUNT} = {count}: there is no hidden layer to repeat")
    filled = hidden + hidden[-1:] * (count - 1 - len(hidden))
    return [dict(layer) for layer in (*filled[: count - 1], last)]
