"""The only room that talks to MPI: ranks, sums, sharing, collective errors, deadlines."""

from disttrain.comm.communicator import Communicator
from disttrain.comm.sums.base import Sum
from disttrain.comm.world import connect, connected

__all__ = ["Communicator", "Sum", "connect", "connected"]
