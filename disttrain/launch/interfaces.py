"""Which network MPI's TCP takes between hosts: bridges of containers don't reach other hosts."""

from __future__ import annotations

import fcntl
import functools
import ipaddress
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from disttrain.errors import UsageError

__all__ = [
    "BRIDGES",
    "Interface",
    "address_of",
    "check_chosen",
    "interfaces",
    "routes",
    "tcp_options",
]

# Interfaces that lead to containers and virtual machines of the same host only, often with the same
# addresses on all hosts.
BRIDGES = ("docker", "br-", "virbr", "veth", "lxcbr", "lxdbr", "cni", "podman", "flannel")
SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFNETMASK, UP = 0x8913, 0x8915, 0x891B, 1
# What Open MPI leaves out by itself; a list of our own replaces it.
ALWAYS_OUT = "127.0.0.0/8"
# Seconds that a name server may take; a resolver that finds none would take half a minute a name.
LOOKUP = 5.0


@dataclass(frozen=True)
class Interface:
    """A network interface that is up, with its IPv4 network, as in 10.0.0.7 of 10.0.0.0/24."""

    name: str
    address: str
    network: str

    @property
    def block(self) -> ipaddress.IPv4Network:
        """The network as numbers."""
        return ipaddress.IPv4Network(self.network)

    @property
    def is_bridge(self) -> bool:
        """True where its network is for containers or virtual machines of this host only."""
        return self.name.startswith(BRIDGES)


def interfaces() -> list[Interface]:
    """Return this host's interfaces that are up and have an IPv4 address."""
    found = []
    # Not /sys/class/net: in a network namespace that can show another one's.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                (flags,) = struct.unpack("H", fcntl.ioctl(asker, SIOCGIFFLAGS, request)[16:18])
                address, mask = (
                    socket.inet_ntoa(fcntl.ioctl(asker, code, request)[20:24])
                    for code in (SIOCGIFADDR, SIOCGIFNETMASK)
                )
            except OSError:
                continue
            if flags & UP:
                network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
                found.append(Interface(name, address, str(network)))
    return found


def check_chosen(text: str, here: Sequence[Interface], is_host: bool) -> None:
    """Raise UsageError, with the word, where `--interface text` is not what MPI can take.

    MPI itself takes wrong words with pages of warnings, or ends. mpirun wants an interface on this
    host too; a network need not be here where this is no host of the job.
    """
    here = [interface for interface in here if not interface.block.is_loopback]
    there = ", ".join(f"{i.name} ({i.network})" for i in here) or "none"
    found = False
    for word in text.split(","):
        network = _network(word)
        if network is None and word not in {interface.name for interface in here}:
            raise UsageError(
                f"--interface {text}: {word!r} is not a network such as 10.0.0.0/16, nor an "
                "interface "
                f"of this host to others with an IPv4 address; there are {there}"
            )
        found |= network is None or any(network.overlaps(i.block) for i in here)
    if is_host and not found:
        raise UsageError(
            f"--interface {text}: this host has no address in that network; there are {there}"
        )


def _network(word: str) -> ipaddress.IPv4Network | None:
    """Return the network that is written as MPI reads it: four numbers and the bits that count."""
    _, slash, bits = word.partition("/")
    if not (slash and bits.isdecimal()):
        return None
    try:
        return ipaddress.IPv4Network(word, strict=False)
    except ValueError:
        return None


@functools.cache
def address_of(name: str) -> str | None:
    """Return the IPv4 address of a host; None where it is unknown, or no answer comes in time.

    Each name is asked for once in a launch. One that only ssh knows, by its own configuration, has
    no address here.
    """
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(socket.gethostbyname(name))
        except OSError:
            return

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(LOOKUP)
    return found[0] if found else None


def routes(names: Sequence[str]) -> dict[str, str]:
    """Return for the address of each host the address of this one from which it is reached.

    Nothing is sent: connecting a datagram socket only looks up its route.
    """
    found = {}
    for address in filter(None, map(address_of, names)):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.connect((address, 9))
                found[address] = asker.getsockname()[0]
        except OSError:
            continue
    return found


def tcp_options(here: Sequence[Interface], routes: Mapping[str, str]) -> list[str]:
    """Return mpirun's options that name the network between hosts, or that leave bridges out.

    `routes` maps the addresses of the other hosts to those of this one. Where all of them are in
    one network of this host, that is the one. Else, behind routers, only bridges are left out; and
    where there is none, MPI chooses.
    """
    networks = {_network_of(source, here) for source in routes.values()}
    network = networks.pop() if len(networks) == 1 else None
    if network and all(ipaddress.IPv4Address(other) in network for other in routes):
        return ["--mca", "btl_tcp_if_include", str(network)]
    bridges = [interface.network for interface in here if interface.is_bridge]
    if not bridges:
        return []
    return ["--mca", "btl_tcp_if_exclude", ",".join([ALWAYS_OUT, *bridges])]


def _network_of(address: str, here: Sequence[Interface]) -> ipaddress.IPv4Network | None:
    """Return the network of this host's `address`, where it is one that leads to other hosts."""
    for interface in here:
        own = ipaddress.IPv4Address(address)
        if own in interface.block and not own.is_loopback and not interface.is_bridge:
            return interface.block
    return None
