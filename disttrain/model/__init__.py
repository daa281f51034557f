"""What is trained: layers, losses and the network over one flat vector of parameters."""

from disttrain.model.dense import Dense
from disttrain.model.dropout import Dropout
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.losses import Loss, Perceptron, Softmax, Squared
from disttrain.model.network import Network
from disttrain.model.passes import PREDICTION, Backward, Context, Pass

__all__ = [
    "PREDICTION",
    "Backward",
    "Context",
    "Dense",
    "Dropout",
    "Layer",
    "Loss",
    "Network",
    "Parameter",
    "Pass",
    "Perceptron",
    "Shape",
    "Softmax",
    "Squared",
]
