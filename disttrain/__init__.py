"""disttrain: synchronous data-parallel training of neural networks on MPI clusters.

    import disttrain

    settings = disttrain.read("run.toml", ["training.epochs=3"])
    summary = disttrain.train(settings, "runs/mine")          # as `disttrain train` does
    model = disttrain.load("runs/mine")                       # its best weights
    print(model.evaluate(split="test"), model.predict(images))

    run = disttrain.build(settings)                           # the same in memory, no folder
    disttrain.fit(run)

The same script runs alone or under mpirun; then every rank calls the same functions in the same
order. `layers=`, `loss=` and `callbacks=` of `build` and `train` take objects of your own classes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disttrain.advice.gradient_check import gradient_check
    from disttrain.api import build, connect, load, train
    from disttrain.config import Settings, parse, read
    from disttrain.errors import DisttrainError
    from disttrain.model import (
        Context,
        Dense,
        Dropout,
        Layer,
        Loss,
        Parameter,
        Softmax,
        Squared,
    )
    from disttrain.model.given import network_of
    from disttrain.training import Callback, Report, fit

__all__ = [
    "Callback",
    "Context",
    "Dense",
    "DisttrainError",
    "Dropout",
    "Layer",
    "Loss",
    "Parameter",
    "Report",
    "Settings",
    "Softmax",
    "Squared",
    "build",
    "connect",
    "fit",
    "gradient_check",
    "load",
    "network_of",
    "parse",
    "read",
    "train",
]

_HOMES = {
    "disttrain.api": ("build", "connect", "load", "train"),
    "disttrain.config": ("Settings", "parse", "read"),
    "disttrain.errors": ("DisttrainError",),
    "disttrain.model": (
        "Context",
        "Dense",
        "Dropout",
        "Layer",
        "Loss",
        "Parameter",
        "Softmax",
        "Squared",
    ),
    "disttrain.model.given": ("network_of",),
    "disttrain.training": ("Callback", "Report", "fit"),
    "disttrain.advice.gradient_check": ("gradient_check",),
}


def __getattr__(name: str) -> Any:
    # Imported when first used: `disttrain --help` must not wait for numpy.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'disttrain' has no attribute {name!r}")
