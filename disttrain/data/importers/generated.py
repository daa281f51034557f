"""Makes data sets from a seed, small enough to be drawn: two features, or one and a quantity."""

from __future__ import annotations

import math

import numpy as np

from disttrain.arrays import generator
from disttrain.data.format import Array
from disttrain.data.importers import Imported
from disttrain.data.importers.expression import function_of_x
from disttrain.errors import UsageError

__all__ = ["FUNCTION", "blobs", "curve", "fish", "line", "moons", "spirals", "xor"]

FUNCTION = "sin(3*x) + 0.3*x"
"""The function that `curve` takes where none is given."""

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
"""Of the unit square, in the order in which the classes alternate."""

BLOB_DISTANCE = 4.0

FISH = {  # the means of length in metres and of weight in grams
    "salmon": (0.72, 3000.0),
    "sea bass": (0.56, 2500.0),
}
FISH_DEVIATIONS = (0.07, 600.0)
FISH_CORRELATION = 0.85
"""Of length and weight within a class."""


def xor(rows: int = 400, noise: float = 0.15, seed: int = 0, *, exact: bool = False) -> Imported:
    """Return four clusters around the corners of the unit square; the class is x1 xor x2.

    `noise` is their standard deviation. `exact`: the four corners alone, whatever the rest says.
    """
    if exact:
        rows, noise = len(CORNERS), 0.0
    _refuse_fewer(rows, len(CORNERS), "xor has four clusters")
    corner = np.arange(rows) % len(CORNERS)
    return _imported(_blurred(CORNERS[corner], noise, seed, "xor"), corner % 2)


def moons(rows: int = 400, noise: float = 0.1, seed: int = 0) -> Imported:
    """Return two half circles of radius 1 that reach into one another.

    Class 0 is (cos t, sin t), class 1 is (1 - cos t, 1/2 - sin t), t evenly from 0 to π. `noise` is
    the standard deviation added to both features.
    """
    _refuse_fewer(rows, 2, "moons has two classes")
    targets, place = _two_in_turn(rows)
    t = place * np.pi
    upper, lower = (np.cos(t), np.sin(t)), (1 - np.cos(t), 0.5 - np.sin(t))
    points = np.where(targets == 0, upper, lower).T
    return _imported(_blurred(points, noise, seed, "moons"), targets)


def spirals(rows: int = 194, noise: float = 0.0, seed: int = 0) -> Imported:
    """Return the two-spirals problem: two arms of three turns each, one the other mirrored.

    For i from 0 to 96, r = 6.5 (104 - i) / 104 and a = i π / 16, class 1 is (r sin a, r cos a) and
    class 0 is (-r sin a, -r cos a). 194 rows are the classical 97 points per arm; other numbers of
    rows divide the same arms evenly. Source: K. Lang and M. Witbrock, Learning to tell two spirals
    apart, Proc. 1988 Connectionist Models Summer School; the program is by A. Wieland.
    """
    _refuse_fewer(rows, 2, "spirals has two classes")
    turn, place = _two_in_turn(rows)
    i = place * 96
    radius, angle = 6.5 * (104 - i) / 104, i * np.pi / 16
    radius = np.where(turn == 0, radius, -radius)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    return _imported(_blurred(points, noise, seed, "spirals"), 1 - turn)


def blobs(rows: int = 400, noise: float = 1.0, seed: int = 0, *, classes: int = 3) -> Imported:
    """Return a round cluster per class, the centres on a circle with neighbours 4 apart.

    `noise` is the standard deviation of the clusters.
    """
    if classes < 2:
        raise UsageError(f"--classes is {classes}, but a classifier needs at least 2")
    _refuse_fewer(rows, classes, f"blobs has {classes} classes")
    targets = np.arange(rows) % classes
    angle = 2 * np.pi * targets / classes
    radius = BLOB_DISTANCE / (2 * math.sin(math.pi / classes))
    points = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _imported(_blurred(points, noise, seed, "blobs"), targets)


def line(rows: int = 200, noise: float = 0.0, seed: int = 0, *, margin: float = 0.1) -> Imported:
    """Return two classes on either side of a line whose direction and place the seed decides.

    Points are `margin` to 1 away from the line, so that a perceptron separates them; with `noise`,
    a standard deviation added to both features, some may cross it.
    """
    if not 0 < margin < 1:
        raise UsageError(f"--margin is {margin}, but must lie between 0 and 1")
    _refuse_fewer(rows, 2, "line has two classes")
    random = generator(seed, "line")
    angle, offset = random.uniform(0, 2 * np.pi), random.uniform(-0.5, 0.5)
    targets = np.arange(rows) % 2
    along = random.uniform(-1, 1, rows)
    across = offset + (2 * targets - 1) * random.uniform(margin, 1, rows)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-np.sin(angle), np.cos(angle)])
    points = np.outer(along, ahead) + np.outer(across, aside)
    return _imported(_blurred(points, noise, seed, "line"), targets)


def fish(rows: int = 400, noise: float = 1.0, seed: int = 0) -> Imported:
    """Return salmon and sea bass by length in metres and weight in grams: scales 10000 apart.

    Each class is a Gaussian of its own mean; `noise` multiplies the deviations of both. The salmon
    is the longer, the sea bass the heavier for its length, so that neither feature is enough. The
    figures are invented. Source of the example: Duda, Hart and Stork, Pattern Classification, 2001.
    """
    _refuse_fewer(rows, 2, "fish has two classes")
    targets = np.arange(rows) % 2
    draws = generator(seed, "fish").standard_normal((rows, 2))
    draws[:, 1] = FISH_CORRELATION * draws[:, 0] + math.sqrt(1 - FISH_CORRELATION**2) * draws[:, 1]
    points = np.array(list(FISH.values()))[targets] + noise * draws * np.array(FISH_DEVIATIONS)
    return _imported(points, targets, list(FISH))


def curve(
    rows: int = 200,
    noise: float = 0.0,
    seed: int = 0,
    *,
    function: str = FUNCTION,
    low: float = -3.0,
    high: float = 3.0,
) -> Imported:
    """Return x, drawn evenly from `low` to `high`, and the quantity y = function(x).

    `noise` is the standard deviation added to y. Raises UsageError where the function is unknown,
    or has no finite value at some x.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"x can't go from {low} to {high}: give --low below --high")
    if rows < 1:
        raise UsageError(f"--rows is {rows}: give at least 1")
    x = generator(seed, "curve").uniform(low, high, (rows, 1))
    y = function_of_x(function)(x)
    undefined = ~np.isfinite(y)
    if undefined.any():
        where = f"{x[undefined][0]:.4g}"
        raise UsageError(f"{function} has no value at x = {where}: choose --low and --high")
    return _imported(x, _blurred(y, noise, seed, "curve"))


def _two_in_turn(rows: int) -> tuple[Array, Array]:
    """Return 0, 1, 0, 1, ... and the place of each row among those of its number, from 0 to 1."""
    turn = np.arange(rows) % 2
    last = np.array([(rows + 1) // 2, rows // 2]) - 1
    return turn, np.arange(rows) // 2 / np.maximum(last, 1)[turn]


def _blurred(points: Array, noise: float, seed: int, name: str) -> Array:
    return points + noise * generator(seed, f"{name} noise").standard_normal(points.shape)


def _imported(inputs: Array, targets: Array, classes: list[str] | None = None) -> Imported:
    """Return the rows as a data file holds them: inputs and quantities float32, classes int64."""
    with np.errstate(over="ignore"):
        inputs = inputs.astype(np.float32)
        targets = targets.astype(np.float32 if targets.dtype.kind == "f" else np.int64)
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        raise UsageError("--noise makes values that are not finite numbers of 4 bytes: lower it")
    return Imported({"train": (inputs, targets)}, classes)


def _refuse_fewer(rows: int, least: int, reason: str) -> None:
    if rows < least:
        raise UsageError(f"--rows is {rows}, but {reason}: give at least {least}")
