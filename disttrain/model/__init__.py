"""What is trained: layers, losses and the network over one flat vector of parameters."""

from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.layers import (
    BUILT_IN,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool,
)
from disttrain.model.losses import Loss, Perceptron, Softmax, Squared
from disttrain.model.network import Network
from disttrain.model.passes import PREDICTION, Backward, Context, Pass

__all__ = [
    "BUILT_IN",
    "PREDICTION",
    "AveragePool",
    "Backward",
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
    "Network",
    "Parameter",
    "Pass",
    "Perceptron",
    "Shape",
    "Softmax",
    "Squared",
]
