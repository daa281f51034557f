"""What can be wrong with the networks between hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import one_per_host, shown
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Seen, check, seen
from disttrain.launch.doctor.interfaces import Network

__all__ = ["common_network"]


def common_network(hosts: Sequence[Network]) -> str:
    """Return the first network of rank 0's host that all hosts are in, or nothing."""
    shared = (n for n in hosts[0].outward if all(n in host.outward for host in hosts))
    return next(shared, "")


@check("warning", "export OMPI_MCA_btl_tcp_if_include={network} (mpirun hands it to all ranks)")
def docker_bridges(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """There are several hosts, and bridges of containers, whose addresses make TCP hang."""
    hosts = [(r, r.network) for r in one_per_host(ranks) if r.network]
    # A host that has nothing else is itself a container or a namespace, and right.
    confusing = [(r, network) for r, network in hosts if network.bridges and network.outward]
    chosen = any(network.chosen for _, network in hosts)
    other = any(r.mpi and r.mpi.vendor not in ("", "Open MPI") for r, _ in hosts)
    if len(hosts) > 1 and confusing and not chosen and not other:
        parts = [f"{i.name} ({i.address}) on {r.host}" for r, n in confusing for i in n.bridges]
        network = common_network([n for _, n in hosts]) or confusing[0][1].outward[0]
        what = f"Open MPI may use a bridge to reach other hosts, and hang: {shown(parts)}"
        yield seen([r for r, _ in confusing], what, network=network)
