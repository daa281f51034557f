"""The facts of one rank and its host: plain values, so that a test can make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from disttrain.arrays.facts import GpuFacts
from disttrain.comm.facts import MpiFacts
from disttrain.launch.doctor.interfaces import Interface, Network

__all__ = [
    "Disk",
    "Facts",
    "Interface",
    "Launch",
    "Machine",
    "Network",
    "Processor",
    "Program",
    "Software",
]


@dataclass(frozen=True)
class Program:
    """An `mpirun` that is installed: "openmpi", "mpich" or "unknown", and its version."""

    path: str
    kind: str
    version: str = ""


@dataclass(frozen=True)
class Launch:
    """Who started this process: the variable that says so (empty: nobody) and how many it states.

    `error` says why the ranks could not be joined; `programs` are the launchers that are here
    (looked for on rank 0).
    """

    variable: str = ""
    processes: int = 1
    error: str = ""
    programs: tuple[Program, ...] = ()


@dataclass(frozen=True)
class Machine:
    """The computer under a host name: containers on one computer have the same `boot`.

    `shared_total` and `shared_free` are bytes of the file system of shared windows, None where it
    is not there.
    """

    boot: str = ""
    shared_total: int | None = None
    shared_free: int | None = None


@dataclass(frozen=True)
class Processor:
    """Cores this rank may use, of how many, and how its BLAS would use them.

    `quota` is the number of cores that the container is granted, None without a limit. `threads`
    is what a training would use, `threads_asked` what the user has set ("" for nothing).
    """

    model: str = ""
    cores: tuple[int, ...] = ()
    machine_cores: int = 0
    quota: float | None = None
    blas: str = ""
    kernel: str = ""
    threads: int = 1
    threads_asked: str = ""


@dataclass(frozen=True)
class Software:
    """Versions; `code` is a digest of this package's source files, `kernels` "C" or "numpy"."""

    packages: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    kernels: str = ""
    executable: str = ""


@dataclass(frozen=True)
class Disk:
    """The run folder as one host sees it; an empty problem means that it worked.

    `tested` is the folder in which it was tried out: `folder` or the nearest parent that is there.
    `token_seen` says whether this host sees there what rank 0 wrote (None: not asked).
    """

    folder: str = ""
    tested: str = ""
    kind: str = ""
    source: str = ""
    free: int = 0
    write_problem: str = ""
    rename_problem: str = ""
    sync_problem: str = ""
    sync_seconds: float = 0.0
    lock_problem: str = ""
    token_seen: bool | None = None


SUBJECTS: dict[str, type] = {
    "mpi": MpiFacts,
    "machine": Machine,
    "processor": Processor,
    "software": Software,
    "gpu": GpuFacts,
    "disk": Disk,
    "network": Network,
}


@dataclass(frozen=True)
class Facts:
    """All that is known of one rank; a subject is None where it was not looked at.

    `failed` holds, for each subject that could not be examined, why.
    """

    rank: int = 0
    host: str = ""
    launch: Launch = Launch()
    mpi: MpiFacts | None = None
    machine: Machine | None = None
    processor: Processor | None = None
    software: Software | None = None
    gpu: GpuFacts | None = None
    disk: Disk | None = None
    network: Network | None = None
    failed: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the facts as they travel between ranks and as they are printed: dictionaries."""
        return asdict(self)


def from_plain(values: Mapping[str, Any]) -> Facts:
    """Return the facts of a rank that may run another version: what is unknown here is left out."""
    known = dict(values)
    for name, kind in SUBJECTS.items():
        if (subject := known.get(name)) is not None:
            known[name] = _made(kind, subject)
    if known.get("network"):
        items = values["network"]["interfaces"]
        known["network"] = Network(
            tuple(_made(Interface, item) for item in items), values["network"]["chosen"]
        )
    launch = dict(values.get("launch", {}))
    launch["programs"] = tuple(_made(Program, p) for p in launch.get("programs", ()))
    known["launch"] = _made(Launch, launch)
    made: Facts = _made(Facts, known)
    return made


def _made(kind: type, values: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in names})
