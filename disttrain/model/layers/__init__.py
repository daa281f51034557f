"""The built-in layers, one family a file, by the `kind` that a run file names them by."""

from disttrain.model.layer import Layer
from disttrain.model.layers.convolution import Conv
from disttrain.model.layers.dense import Dense
from disttrain.model.layers.dropout import Dropout
from disttrain.model.layers.flatten import Flatten
from disttrain.model.layers.normalization import BatchNorm, LayerNorm
from disttrain.model.layers.pooling import AveragePool, GlobalAveragePool, MaxPool

__all__ = [
    "BUILT_IN",
    "AveragePool",
    "BatchNorm",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "LayerNorm",
    "MaxPool",
]

BUILT_IN: dict[str, type[Layer]] = {
    layer.kind: layer
    for layer in (
        Dense, Conv, MaxPool, AveragePool, GlobalAveragePool, BatchNorm, LayerNorm, Dropout, Flatten
    )
}  # fmt: skip
