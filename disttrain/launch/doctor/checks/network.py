"""What can be wrong with the networks between hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import one_per_host, shown
from disttrain.launch.doctor.facts import Facts, Interface
from disttrain.launch.doctor.finding import Seen, check, seen

__all__ = ["bridges_of", "common_network", "networks_of"]

# How containers and virtual machines name what leads to themselves only.
BRIDGES = ("docker", "br-", "veth", "virbr", "podman", "cni", "lxcbr", "lxdbr")


def bridges_of(rank: Facts) -> list[Interface]:
    """Return the interfaces that lead to containers of this host only."""
    found = rank.network.interfaces if rank.network else ()
    return [i for i in found if i.name.startswith(BRIDGES)]


def networks_of(rank: Facts) -> list[str]:
    """Return the networks that can lead to other hosts."""
    found = rank.network.interfaces if rank.network else ()
    return [
        i.network
        for i in found
        if not i.name.startswith(BRIDGES) and not i.address.startswith("127.")
    ]


def common_network(hosts: Sequence[Facts]) -> str:
    """Return the first network of rank 0's host that all hosts are in, or nothing."""
    shared = (n for n in networks_of(hosts[0]) if all(n in networks_of(h) for h in hosts))
    return next(shared, "")


@check("warning", "export OMPI_MCA_btl_tcp_if_include={network} (mpirun hands it to all ranks)")
def docker_bridges(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """There are several hosts, and bridges of containers, whose addresses make TCP hang."""
    hosts = one_per_host(r for r in ranks if r.network)
    # A host that has nothing else is itself a container or a namespace, and right.
    confusing = [h for h in hosts if bridges_of(h) and networks_of(h)]
    told = any(h.network.chosen for h in hosts if h.network)
    other = any(h.mpi and h.mpi.vendor not in ("", "Open MPI") for h in hosts)
    if len(hosts) > 1 and confusing and not told and not other:
        parts = [f"{i.name} ({i.address}) on {h.host}" for h in confusing for i in bridges_of(h)]
        network = common_network(hosts) or networks_of(confusing[0])[0]
        what = f"Open MPI may take a bridge for the way to other hosts, and hang: {shown(parts)}"
        yield seen(confusing, what, network=network)
