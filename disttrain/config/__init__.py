"""A run file becomes frozen models, or one error that names the key.

Every key has a default but `data.path` and `model.layers`; unknown keys are errors that name the
nearest known one.
"""

from disttrain.config.keywords import from_keywords
from disttrain.config.kinds import Adam, Denoising, Optimizer, Rbm, Schedule, Sgd
from disttrain.config.layers import Dense, LayerTable, layer_of
from disttrain.config.reading import (
    literals,
    parse,
    read,
    read_study,
    read_weights,
    schema,
    to_toml,
)
from disttrain.config.sections import Augment, Communication, Data, Interval, Settings
from disttrain.config.study import MOST_CANDIDATES, Range, Stage, Study

__all__ = [
    "MOST_CANDIDATES",
    "Adam",
    "Augment",
    "Communication",
    "Data",
    "Denoising",
    "Dense",
    "Interval",
    "LayerTable",
    "Optimizer",
    "Range",
    "Rbm",
    "Schedule",
    "Settings",
    "Sgd",
    "Stage",
    "Study",
    "from_keywords",
    "layer_of",
    "literals",
    "parse",
    "read",
    "read_study",
    "read_weights",
    "schema",
    "to_toml",
]
