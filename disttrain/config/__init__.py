"""A run file becomes frozen models, or one error that names the key.

Every key has a default but `data.path` and `model.layers`; unknown keys are errors that name the
nearest known one.
"""

from disttrain.config.reading import parse, read, read_weights, schema, to_toml
from disttrain.config.sections import (
    Communication,
    Data,
    Layer,
    Optimizer,
    Schedule,
    Settings,
)

__all__ = [
    "Communication",
    "Data",
    "Layer",
    "Optimizer",
    "Schedule",
    "Settings",
    "parse",
    "read",
    "read_weights",
    "schema",
    "to_toml",
]
