"""disttrain: synchronous data-parallel training of neural networks on MPI clusters.

    import disttrain

    data = disttrain.Data(X, y, test=(X_test, y_test))
    model = disttrain.train(data, layers=[disttrain.Dense(100, "relu"), 10], epochs=5)
    print(model.evaluate(), model.predict(X_new))

    model = disttrain.train("run.toml", "runs/mine", epochs=3)    # as `disttrain train` does
    model = disttrain.load("runs/mine")                           # its best weights

    run = disttrain.build("run.toml")                             # step by step, no folder
    disttrain.fit(run)

The same script runs alone or under mpirun; then every rank calls the same functions in the same
order. docs/python.md has the whole of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from disttrain.environment import VERSION as __version__

if TYPE_CHECKING:
    from disttrain.advice.gradient_check import gradient_check
    from disttrain.api import Data, build, connect, in_groups, load, train
    from disttrain.config import Settings, parse, read
    from disttrain.errors import (
        CheckpointError,
        Corruption,
        DamagedCheckpoint,
        DataError,
        DeviceError,
        DisttrainError,
        Divergence,
        LauncherError,
        LostRanks,
        Preempted,
        RankFailure,
        RunFileError,
        UsageError,
    )
    from disttrain.model import (
        AveragePool,
        BatchNorm,
        Context,
        Conv,
        Dense,
        Dropout,
        Flatten,
        GlobalAveragePool,
        Layer,
        LayerNorm,
        Loss,
        MaxPool,
        Parameter,
        Softmax,
        Squared,
    )
    from disttrain.model.given import network_of
    from disttrain.training import Callback, Report, fit

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Callback",
    "CheckpointError",
    "Context",
    "Conv",
    "Corruption",
    "DamagedCheckpoint",
    "Data",
    "DataError",
    "Dense",
    "DeviceError",
    "DisttrainError",
    "Divergence",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "LauncherError",
    "Layer",
    "LayerNorm",
    "Loss",
    "LostRanks",
    "MaxPool",
    "Parameter",
    "Preempted",
    "RankFailure",
    "Report",
    "RunFileError",
    "Settings",
    "Softmax",
    "Squared",
    "UsageError",
    "__version__",
    "build",
    "connect",
    "fit",
    "gradient_check",
    "in_groups",
    "load",
    "network_of",
    "parse",
    "read",
    "settings",
    "train",
]

_HOMES = {
    "disttrain.api": ("Data", "build", "connect", "in_groups", "load", "settings", "train"),
    "disttrain.config": ("Settings", "parse", "read"),
    "disttrain.errors": (
        "CheckpointError",
        "Corruption",
        "DamagedCheckpoint",
        "DataError",
        "DeviceError",
        "DisttrainError",
        "Divergence",
        "LauncherError",
        "LostRanks",
        "Preempted",
        "RankFailure",
        "RunFileError",
        "UsageError",
    ),
    "disttrain.model": (
        "AveragePool",
        "BatchNorm",
        "Context",
        "Conv",
        "Dense",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "Layer",
        "LayerNorm",
        "Loss",
        "MaxPool",
        "Parameter",
        "Softmax",
        "Squared",
    ),
    "disttrain.model.given": ("network_of",),
    "disttrain.training": ("Callback", "Report", "fit"),
    "disttrain.advice.gradient_check": ("gradient_check",),
    # Not in __all__: they need scikit-learn, an extra.
    "disttrain.interop.sklearn": ("DistributedMLPClassifier", "DistributedMLPRegressor"),
}


def __getattr__(name: str) -> Any:
    # Imported when first used: `disttrain --help` must not wait for numpy.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    said = f"module 'disttrain' has no attribute {name!r}"
    if name[:1].isupper():
        # Not for the names of modules, which `import` asks for first.
        from disttrain.config.habits import here

        said += here(name)
    raise AttributeError(said)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
