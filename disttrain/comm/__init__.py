"""The only room that talks to MPI: ranks, sums, sharing, collective errors, deadlines."""

from disttrain.comm.communicator import Communicator
from disttrain.comm.mosaic import Mosaic
from disttrain.comm.sums.base import LeafSum, Sum
from disttrain.comm.sums.tree import folding, nodes
from disttrain.comm.world import connect, connected

__all__ = [
    "Communicator",
    "LeafSum",
    "Mosaic",
    "Sum",
    "connect",
    "connected",
    "folding",
    "nodes",
]
