"""The only room that talks to MPI: ranks, sums, sharing, collective errors, deadlines."""

from disttrain.comm.communicator import Communicator
from disttrain.comm.gathers.base import AllGather
from disttrain.comm.groups import Outcome, in_groups
from disttrain.comm.sums.base import LeafSum, Sum
from disttrain.comm.sums.tree import folding, subtrees
from disttrain.comm.timeline import Timeline
from disttrain.comm.world import connect, connected

__all__ = [
    "AllGather",
    "Communicator",
    "LeafSum",
    "Outcome",
    "Sum",
    "Timeline",
    "connect",
    "connected",
    "folding",
    "in_groups",
    "subtrees",
]
