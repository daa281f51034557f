"""Made environments: the facts of ranks on good hosts, and how to spoil one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from disttrain.arrays.facts import GpuFacts
from disttrain.comm.facts import MpiFacts
from disttrain.launch.doctor.facts import (
    Disk,
    Facts,
    Interface,
    Launch,
    Machine,
    Network,
    Processor,
    Program,
    Software,
)

GB = 1 << 30
LO = Interface("lo", "127.0.0.1", "127.0.0.0/8")
DOCKER = Interface("docker0", "172.17.0.1", "172.17.0.0/16")
MPI = MpiFacts(
    mpi4py="4.1.2", vendor="Open MPI", version="5.0.11", standard="3.1", abi="openmpi",
    library="Open MPI v5.0.11", file="/venv/lib/libmpi.so.40", world=1,
)  # fmt: skip
SOFTWARE = Software(
    {"python": "3.11.7", "disttrain": "0.1.0", "numpy": "2.4.6", "mpi4py": "4.1.2"},
    code="aaaaaaaaaaaa", kernels="C", executable="/venv/bin/python",
)  # fmt: skip
DISK = Disk("/scratch/runs", "/scratch", "nfs4", "server:/scratch", 900 * GB, sync_seconds=0.01)
GPU = GpuFacts(
    "580.65", 13000, ("cupy-cuda13x",), "14.0.1", 13000, 4, "gpu 0 (NVIDIA H200)", "0000:01:00.0",
)  # fmt: skip


def rank_on(number: int, host: int, place: int, world: int, local: int) -> Facts:
    """Return rank `number` of `world`, the one at `place` of the `local` ranks of host `host`."""
    network = Network((LO, Interface("eth0", f"10.0.0.{host + 1}", "10.0.0.0/24")))
    cores = tuple(range(8))
    return Facts(
        rank=number,
        host=f"n{host}",
        launch=Launch("OMPI_COMM_WORLD_SIZE", world, "", PROGRAMS if number == 0 else ()),
        mpi=replace(MPI, world=world),
        machine=Machine(f"boot-{host}", 16 * GB, 15 * GB),
        processor=Processor("AMD EPYC", cores, 8, None, "openblas 0.3.31", "Haswell", 8 // local),
        software=SOFTWARE,
        gpu=GpuFacts(problem="CuPy is not installed"),
        disk=None if place else replace(DISK, token_seen=True if host else None),
        network=network,
    )


PROGRAMS = (Program("/venv/bin/mpirun", "openmpi", "5.0.11"),)


def job(hosts: int = 1, local: int = 4) -> list[Facts]:
    """Return the facts of a good job with `local` ranks on each host."""
    return [
        rank_on(host * local + place, host, place, hosts * local, local)
        for host in range(hosts)
        for place in range(local)
    ]


def alone() -> list[Facts]:
    """Return the facts of a good host on which nobody has started ranks."""
    (one,) = job(1, 1)
    mpi = replace(MPI, world=0)
    return [replace(one, launch=Launch(programs=PROGRAMS), mpi=mpi)]


def with_gpus(ranks: Sequence[Facts]) -> list[Facts]:
    """Give each rank a GPU of its own."""
    return [
        replace(r, gpu=replace(GPU, device=f"gpu {i} (NVIDIA H200)", bus=f"0000:0{i}:00.0"))
        for i, r in enumerate(ranks)
    ]


def changed(ranks: Sequence[Facts], which: Sequence[int], subject: str, **values: Any):
    """Return the ranks, with some values of one subject changed on those of `which`."""
    return [
        replace(r, **{subject: replace(getattr(r, subject), **values)}) if r.rank in which else r
        for r in ranks
    ]


def everywhere(ranks: Sequence[Facts], subject: str, **values: Any) -> list[Facts]:
    """Return the ranks with some values of one subject changed on all of them."""
    return changed(ranks, range(len(ranks)), subject, **values)
