"""Units that can't learn: silent ReLU units, and layers whose units are all equal."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from disttrain.arrays import Array
from disttrain.model import Dropout, Network
from disttrain.training.evaluation import samples_of

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["equal_units", "silence", "silent_units", "why_equal"]

# Up to so many units are named; of more, only their number is given.
NAMED = 8


def silent_units(network: Network, inputs: Array) -> dict[str, list[int]]:
    """Return, for each ReLU layer, the units whose output is 0 for every row of `inputs`.

    The units of a convolutional layer are its filters: 0 at every place.

    Such a unit has the derivative 0 for all these rows: if they are the training set, its weights
    get no gradient any more ("dead ReLU"). Layers without such units are left out.
    """
    found: dict[str, list[int]] = {}
    if not len(inputs):
        return found
    for name, layer, outputs in zip(
        network.names, network.layers, network.activations(inputs), strict=True
    ):
        if getattr(layer, "activation", "") == "relu":
            places = tuple(range(outputs.ndim - 1))
            silent = np.flatnonzero(network.device.get((outputs <= 0).all(axis=places)))
            if len(silent):
                found[name] = silent.tolist()
    return found


def silence(run: Run) -> dict[str, str]:
    """Return a sentence for each layer with silent units, on the first block of training rows.

    For rank 0 alone, between intervals: it overwrites buffers of a training step.
    """
    split = run.dataset.splits["train"]
    inputs, _ = run.feed(split, samples_of(0, split))
    network = run.network
    counts = {
        name: shape[-1] for name, shape in zip(network.names, network.shapes[1:], strict=True)
    }
    sentences = {}
    for name, units in silent_units(network, inputs).items():
        one, few = len(units) == 1, len(units) <= NAMED
        which = f" (unit{'s' * (not one)} {', '.join(map(str, units))})" if few else ""
        sentences[name] = (
            f"{name}: {len(units)} of {counts[name]} ReLU units {'outputs' if one else 'output'} 0 "
            f"for each of {len(inputs)} training rows{which}"
        )
    return sentences


def equal_units(network: Network) -> list[str]:
    """Return the names of layers in which all units are equal and will stay equal.

    That is so where all have the same weights and the same bias, and the next layer has the same
    weights for each of them: then all get the same gradient. Where the next layer has different
    weights, or in the last layer, whose units have different targets, equal units become different
    at the first update.
    """
    views = network.layout.views(network.values)
    # Layers without parameters treat all units alike, except dropout.
    distinguishing = [
        (name, {key: network.device.get(value) for key, value in here.items()})
        for name, layer, here in zip(network.names, network.layers, views, strict=True)
        if here or isinstance(layer, Dropout)
    ]
    return [
        name
        for (name, here), (_, after) in pairwise(distinguishing)
        if _is_matrix(here) and len(here["weight"]) > 1
        and all(_same(value) for value in here.values())
        and _is_matrix(after) and _same(after["weight"].T)
    ]  # fmt: skip


def why_equal(names: list[str]) -> str:
    """Return the sentence for layers of equal units: what is wrong and what to do."""
    return (
        f"all units of {', '.join(names)} begin with the same weights and biases, and what follows "
        "weighs them equally: they stay equal and act as one unit; use an initializer "
        'that draws at random, such as "he", "xavier" or "small-random"'
    )


def _is_matrix(parameters: dict[str, np.ndarray]) -> bool:
    return "weight" in parameters and parameters["weight"].ndim == 2


def _same(rows: np.ndarray) -> bool:
    return bool((rows == rows[:1]).all())
