"""What one rank alone gets, computed once: the other ranks wait for it without taking a core."""

import time

from mpi4py import MPI


def by_root(comm, compute):
    """Return on every rank what `compute` returned on rank 0; raise on every rank what it raised.

    `compute` holds no collective call.
    """
    found = error = None
    if comm.is_root:
        try:
            found = compute()
        except Exception as caught:
            error = caught
    request = MPI.COMM_WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.001)
    found, error = comm.share((found, error))
    if error is not None:
        raise error
    return found
