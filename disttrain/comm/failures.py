"""Ranks that die in a job that goes on: MPI's user-level failure mitigation (ULFM), Open MPI 5."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from disttrain.comm.topology import Topology
from disttrain.errors import raised_everywhere

__all__ = [
    "Agreement",
    "can_survive",
    "dead_in",
    "framed",
    "is_loss",
    "revoke",
    "survivors_of",
    "unframed",
]

# What Open MPI sets in ranks that were started by `mpirun --with-ft ulfm`.
ENABLED = "OMPI_MCA_mpi_ft_enable"
# Seconds in which all ranks of a host hear of a death.
HEARD = 2.0
LOSSES = ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")


def can_survive() -> bool:
    """Return True where this job's MPI goes on without a rank that died."""
    asked = os.environ.get(ENABLED, "").lower() in ("1", "true")
    return asked and hasattr(MPI, LOSSES[0]) and MPI.COMM_WORLD.size > 1


def is_loss(error: BaseException, comm: MPI.Comm) -> bool:
    """Return True where `error` is due to a rank that died: MPI says so, or what it brought.

    A collective call in which a rank dies can end without an error and with another one's bytes, or
    none. So an error that this rank alone has is one of these where a rank has died, which may be
    heard of a moment later.
    """
    if isinstance(error, MPI.Exception):
        kind = error.Get_error_class()
        if kind in [getattr(MPI, name) for name in LOSSES]:
            return True
        # What `Waitall` raises, whatever became of its requests.
        if kind != MPI.ERR_IN_STATUS:
            return False
    elif raised_everywhere(error) or not isinstance(error, Exception):
        return False
    end = time.monotonic() + HEARD
    while time.monotonic() < end:
        with contextlib.suppress(MPI.Exception):
            comm.Iprobe()
        if comm.Is_revoked() or comm.Get_failed().size:
            return True
        time.sleep(0.01)
    return False


def dead_in(comm: MPI.Comm) -> list[int]:
    """Return the ranks of `comm` of which this one has heard that they died. Not collective."""
    with contextlib.suppress(MPI.Exception):
        comm.Iprobe()
    failed, all_ranks = comm.Get_failed(), comm.Get_group()
    found = failed.Translate_ranks(range(failed.size), all_ranks)
    failed.Free()
    all_ranks.Free()
    return sorted(found)


def revoke(communicators: Sequence[MPI.Comm]) -> None:
    """End every call on them that still waits, on all of their ranks."""
    for comm in communicators:
        with contextlib.suppress(MPI.Exception):
            comm.Revoke()


class Agreement:
    """Lets all ranks of a communicator go on alike: none has met a loss, or all hear of one.

    Each rank takes part in the same agreements in the same order. One that has met a loss elsewhere
    lets the next one fail, as the others may wait for it there. (`Shrink` holds agreements too: one
    of them could be taken for this rank's part, and only the others would go on.)
    """

    def __init__(self) -> None:
        self._failed = False

    def reach(self, comm: MPI.Comm, holds: bool = True) -> None:
        """Return on all ranks where it `holds` on all, else raise a loss on all of them."""
        self._failed = True
        if not comm.Agree(int(holds)):
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        self._failed = False

    def fail(self, communicators: Sequence[MPI.Comm]) -> None:
        """End all calls on them, and the agreement on the first, unless it has failed already."""
        revoke(communicators)
        if not self._failed:
            with contextlib.suppress(MPI.Exception):
                communicators[0].Agree(0)
        self._failed = False


class Garbled(Exception):
    """What came from other ranks is not what they sent."""


def framed(value: Any) -> tuple[int, bytes]:
    """Return `value` as bytes, with their checksum."""
    content: bytes = MPI.pickle.dumps(value)
    return zlib.crc32(content), content


def unframed(frame: Any) -> Any:
    """Return the value in a frame; raises Garbled where it is not what was sent."""
    if not isinstance(frame, tuple) or len(frame) != 2 or zlib.crc32(frame[1]) != frame[0]:
        raise Garbled("bytes of another message arrived: a rank died, or memory is faulty")
    return MPI.pickle.loads(frame[1])


def survivors_of(topology: Topology, settle: Callable[[Topology], None]) -> None:
    """Call `settle` with the topology of the ranks that are left, until all of them have done it.

    Its communicators are revoked: that ends every call on them that still waits, on all ranks. What
    was made of these is not given back: that would be collective over the dead rank too.
    """
    comm = topology.comm
    while True:
        found: Topology | None = None
        comm, settled = comm.Shrink(), True
        try:
            settle(found := Topology(comm))
        except Exception as error:
            if not is_loss(error, comm):
                raise
            settled = False
            revoke(found.communicators if found else [comm])
        # An agreement has the same outcome on all ranks, also where one dies in it.
        with contextlib.suppress(MPI.Exception):
            if comm.Agree(int(settled)):
                return
