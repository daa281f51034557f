"""What holds while a run computes: the deadline of its ranks, and its number of BLAS threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from threadpoolctl import threadpool_limits

from disttrain.arrays.blas import all_have
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.environment import threads_are_ours

__all__ = ["within_limits"]


@contextmanager
def within_limits(
    settings: Settings, comm: Communicator, threads: int | None = None
) -> Iterator[None]:
    """Arm the deadline and set the BLAS threads for the body; both are put back afterwards.

    In exact mode there are as many as `threads`, or as the settings state, else 1; in fast mode a
    share of the host's cores, unless the user has set them. What this process computes besides the
    run keeps its own.
    """
    deadline = settings.communication.deadline_seconds
    with comm.watch.armed(deadline), _threads(settings, comm, threads):
        yield


def _threads(
    settings: Settings, comm: Communicator, threads: int | None
) -> threadpool_limits | nullcontext[None]:
    wanted = None
    if settings.reproducibility.mode == "exact":
        wanted = threads or settings.reproducibility.blas_threads or 1
    elif comm.host_size > 1 and threads_are_ours():
        wanted = comm.blas_threads
    # To set the number again would take as long as a step of a small network.
    if wanted is None or all_have(wanted):
        return nullcontext()
    return threadpool_limits(wanted, "blas")
