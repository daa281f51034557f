"""Joining the job: MPI where a launcher started several processes, one rank where none did."""

from __future__ import annotations

import ctypes
import faulthandler
import math
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING

from disttrain import journal
from disttrain.comm.alone import Alone
from disttrain.comm.communicator import Communicator
from disttrain.environment import (
    SPARES,
    Launched,
    launched,
    leave_sign,
    leave_status,
    seconds_in,
    spares,
)
from disttrain.errors import (
    LauncherError,
    LostRanks,
    exit_code_of,
    failure_noted,
    raised_everywhere,
    sentence_of,
)
from disttrain.shown import shown_lines

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

    AnyCommunicator = Communicator | Intracomm

__all__ = ["connect", "connected"]

# Limit for joining the job, in seconds: ranks may never start, or the network may not work.
CONNECT_SECONDS = "DISTTRAIN_CONNECT_SECONDS"
USUAL = 300.0
# Seconds after rank 0 in which the others print the sentence too; and seconds after that in which a
# rank is killed that could not print it.
FIRST_WORD, LAST_WORD = 3.0, 2.0
_joined: list[Communicator] = []


def connected() -> Communicator | None:
    """Return the communicator if this process has joined its job already, else None."""
    return _joined[0] if _joined else None


def connect(comm: AnyCommunicator | None = None) -> Communicator:
    """Return the communicator of this job, or of the ranks of `comm`, which mpi4py made.

    The same object at every call; what this function returned may be given again. Collective over
    the ranks of `comm`, which stays the caller's: `close` frees only what was made here.

    Without `comm` MPI is imported only where a launcher's variables are there: a command alone
    starts faster and needs no MPI. Raises LauncherError where the launcher started N processes and
    MPI shows this one a world of another size: each of them would train alone, N times the same.
    """
    if isinstance(comm, Communicator):
        return comm
    if comm is not None:
        return _given(comm)
    if _joined and _joined[0].closed:
        _joined.clear()
    if not _joined:
        _joined.append(_join())
        journal.who(_joined[0].rank, _joined[0].host)
        if _joined[0].is_root:
            leave_sign()
    return _joined[0]


def _given(comm: Intracomm) -> Communicator:
    from disttrain.comm.ranks import connected_to, world, world_size

    ranks = connected_to(comm)
    journal.who(world().rank, ranks.host)
    if world_size() > 1:
        _end_all_on_error(connected() or ranks)
    return ranks


def _join() -> Communicator:
    job = launched()
    if job is None:
        return Alone()
    seconds = seconds_in(CONNECT_SECONDS, USUAL)
    # From here on MPI waits for the others inside C, and no other Python thread can run.
    words = (
        f"disttrain: the ranks did not find each other within {seconds:g} s (rank {job.rank} on "
        f"{socket.gethostname()} waited): a host does not respond, or messages do not arrive; "
        f"see `disttrain doctor` on the same hosts, and {CONNECT_SECONDS}\n"
    )
    late = FIRST_WORD if job.rank else 0
    with ended_after(seconds + late, lambda: _give_up(words.encode())):
        return _connected(job)


def _give_up(words: bytes) -> None:
    os.write(2, words)
    leave_status(LostRanks.exit_code)
    os._exit(LostRanks.exit_code)


@contextmanager
def ended_after(seconds: float, last: Callable[[], None]) -> Iterator[None]:
    """End this process if the body takes longer; the launcher then ends the others.

    SIGALRM calls `last`, which does not return. Python's own handlers would wait for C to return,
    and its threads for the lock that this one holds inside MPI_Init; so a C handler calls it. It
    may block where C's allocator was interrupted: a second alarm then kills the process.
    """
    signals_come_here = threading.current_thread() is threading.main_thread()
    if seconds == math.inf or not signals_come_here:
        yield
        return
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: last())
    # glibc's handler for one signal. Without it the process dies without the sentence.
    with suppress(AttributeError):
        ctypes.CDLL(None).sysv_signal(int(signal.SIGALRM), handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, LAST_WORD)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _connected(job: Launched) -> Communicator:
    try:
        from disttrain.comm.ranks import Ranks, library, world, world_size
    except ImportError as error:
        if job.size == 1:
            return Alone()
        raise LauncherError(
            f"{job.variable} says that a launcher started this, but mpi4py can't be loaded "
            f"({error}): pip install 'disttrain[mpi]'"
        ) from None
    if job.size not in (0, world_size()):
        raise LauncherError(mismatch(job, world_size(), library()))
    comm = _with_spares(spares(world_size())) or Ranks(world())
    if comm.size > 1:
        _end_all_on_error(comm)
        # The watch of another rank asks for it where this one seems stuck, also inside C.
        with suppress(AttributeError, ValueError, OSError, RuntimeError):
            faulthandler.register(signal.SIGUSR2, all_threads=False)
    return comm


def _with_spares(number: int) -> Communicator | None:
    """Return the communicator with so many spares, None for 0."""
    if not number:
        return None
    from disttrain.comm.ranks import world
    from disttrain.comm.spares import WithSpares

    comm = WithSpares(world(), number)
    if not comm.survives:
        raise LauncherError(
            f"{SPARES}={number} needs a job that goes on without a rank that died: Open MPI 5 with "
            "`mpirun --with-ft ulfm`, as `disttrain launch --spares` starts it"
        )
    return comm


def mismatch(job: Launched, size: int, mpi: str) -> str:
    """Return the sentence for a launcher that does not belong to the MPI library."""
    return (
        f"{job.variable} = {job.size}, but MPI ({mpi}) shows this process a world of {size}: the "
        "launcher belongs to another MPI than mpi4py; start it with `disttrain launch -n "
        f"{job.size} ...`, or with the mpirun or `srun --mpi=pmix` of that MPI"
    )


def _end_all_on_error(comm: Communicator) -> None:
    """Install the abort hook: an uncaught exception on one rank ends every rank of the job.

    A process has one hook, whichever communicator was connected first.
    """
    if getattr(sys.excepthook, "ends_all_ranks", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if raised_everywhere(error):
            if comm.is_root:
                text = sentence_of(failure_noted(error) or error)
                print(f"disttrain: {text}", file=sys.stderr, flush=True)
        else:
            text = shown_lines("".join(traceback.format_exception(kind, error, trace)))
            if isinstance(error, KeyboardInterrupt):
                text = sentence_of(error)
            print(f"disttrain: rank {comm.rank} failed in {comm.watch.current}:\n{text}",
                  file=sys.stderr, flush=True)  # fmt: skip
        comm.abort(exit_code_of(error))

    hook.ends_all_ranks = True  # type: ignore[attr-defined]
    sys.excepthook = hook
