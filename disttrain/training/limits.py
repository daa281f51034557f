"""What holds while a run computes: the deadline of its ranks, and its number of BLAS threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from threadpoolctl import threadpool_limits

from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.environment import threads_are_ours

__all__ = ["within_limits"]


@contextmanager
def within_limits(settings: Settings, comm: Communicator) -> Iterator[None]:
    """Arm the deadline and set the BLAS threads for the body; both are put back afterwards.

    In exact mode the threads are a fixed number, else a share of the host's cores, unless the user
    has set them. What this process computes besides the run keeps its own.
    """
    with comm.watch.armed(settings.communication.deadline_seconds), _threads(settings, comm):
        yield


def _threads(settings: Settings, comm: Communicator) -> threadpool_limits | nullcontext[None]:
    if settings.reproducibility.mode == "exact":
        return threadpool_limits(settings.reproducibility.blas_threads, "blas")
    if comm.host_size > 1 and threads_are_ours():
        return threadpool_limits(comm.blas_threads, "blas")
    return nullcontext()
