"""Communicators that a user's program made with mpi4py."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from disttrain.comm.ranks import Ranks
from disttrain.errors import UsageError

__all__ = ["connected_to"]

# Where an mpi4py communicator keeps what `connected_to` made of it.
OURS = MPI.Comm.Create_keyval()


def connected_to(comm: Any) -> Ranks:
    """Return the ranks of an mpi4py communicator, the same object at every call until `close`.

    Collective over `comm`, which stays the caller's and is used for nothing else.
    """
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise UsageError(
            f"comm={comm!r} is not a communicator for a training: give an intracommunicator "
            "of mpi4py, as MPI.COMM_WORLD, or what disttrain.connect() returned"
        )
    found = comm.Get_attr(OURS)
    if not isinstance(found, Ranks) or found.closed:
        found = Ranks(comm)
        comm.Set_attr(OURS, found)
    return found
