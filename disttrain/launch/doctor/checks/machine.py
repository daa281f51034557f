"""What can be wrong with the shared memory of hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by_host
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Seen, check, seen

# Open MPI's and MPICH's own messages live there too.
RESERVE = 16 << 20
# A message of 16 million float32 weights; for less room than that in each rank, say so.
MESSAGE = 64 << 20


@check("warning", 'give containers `--shm-size={size}`, or set communication.sum = "ring"')
def small_shared_memory(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """/dev/shm (for gradients and data sets) has less than 64 MB for each rank of a host."""
    for host, group in by_host(r for r in ranks if r.machine).items():
        free = group[0].machine.shared_free if group[0].machine else None
        # Who looks at it alone will start two ranks at least; one row more holds the total.
        rows = max(len(group), 2) + 1
        if free is None or (free - RESERVE) / rows >= MESSAGE:
            continue
        weights = max(0, free - RESERVE) // rows // 4
        what = (
            f"/dev/shm of {host} has {free >> 20} MB free: {rows - 1} ranks can share gradients of "
            f"{weights / 1e6:.1f} million float32 weights there, and no large data set"
        )
        yield seen(group, what, size=f"{-(-(rows * MESSAGE + RESERVE) // (1 << 30))}g")
