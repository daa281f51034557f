"""What is trained: layers, losses and the network over one flat vector of parameters."""

from disttrain.model.dense import Dense
from disttrain.model.layer import Backward, Context, Layer, Parameter
from disttrain.model.losses import Loss, Softmax, Squared
from disttrain.model.network import Network

__all__ = [
    "Backward",
    "Context",
    "Dense",
    "Layer",
    "Loss",
    "Network",
    "Parameter",
    "Softmax",
    "Squared",
]
