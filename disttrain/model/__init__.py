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
from disttrain.model.rbm import Rbm

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
    "Rbm",
    "Shape",
    "Softmax",
    "Squared",
]
