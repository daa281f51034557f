"""What is trained: layers, losses and the network over one flat vector of parameters."""

from disttrain.model.dense import Dense
from disttrain.model.dropout import Dropout
from disttrain.model.layer import Backward, Context, Layer, Moment, Parameter
from disttrain.model.losses import Loss, Perceptron, Softmax, Squared
from disttrain.model.network import Network

__all__ = [
    "Backward",
    "Context",
    "Dense",
    "Dropout",
    "Layer",
    "Loss",
    "Moment",
    "Network",
    "Parameter",
    "Perceptron",
    "Softmax",
    "Squared",
]
