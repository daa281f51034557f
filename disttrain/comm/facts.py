"""Which MPI this process has, found without starting it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MpiFacts", "mpi_facts"]


@dataclass(frozen=True)
class MpiFacts:
    """One rank's MPI; what is not known is empty, 0 or None.

    `problem` says why it can't be loaded, `abi` which build of mpi4py was taken ("openmpi",
    "mpich"), `world` how many ranks MPI shows (0: it was not started).
    """

    mpi4py: str = ""
    problem: str = ""
    vendor: str = ""
    version: str = ""
    standard: str = ""
    abi: str = ""
    library: str = ""
    file: str = ""
    world: int = 0

    @property
    def name(self) -> str:
        """Vendor and version, as in "Open MPI 5.0.11"."""
        return f"{self.vendor} {self.version}".strip() or "no MPI"


def mpi_facts() -> MpiFacts:
    """Return this process's MPI. Call `connect` before: here MPI is loaded, never started."""
    try:
        import mpi4py
    except ImportError:
        return MpiFacts(problem="mpi4py is not installed")
    try:
        before, mpi4py.rc.initialize = mpi4py.rc.initialize, False
        from mpi4py import MPI
    # The wheel raises RuntimeError where it finds no MPI library.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return MpiFacts(mpi4py=mpi4py.__version__, problem=f"mpi4py can't load MPI ({reason})")
    finally:
        mpi4py.rc.initialize = before
    vendor, version = MPI.get_vendor()
    started = MPI.Is_initialized() and not MPI.Is_finalized()
    parts = Path(MPI.__file__).name.split(".")
    return MpiFacts(
        mpi4py=mpi4py.__version__,
        vendor=vendor,
        version=".".join(map(str, version)),
        standard=".".join(map(str, MPI.Get_version())),
        abi="" if parts[1].startswith(("cpython", "abi3", "so")) else parts[1],
        library=MPI.Get_library_version().splitlines()[0].strip("\0 "),
        file=loaded_library(),
        world=int(MPI.COMM_WORLD.size) if started else 0,
    )


def loaded_library() -> str:
    """Return the path of the MPI library in this process, or nothing where that can't be seen."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return ""
    names = (line.split(maxsplit=5)[-1] for line in lines if "/libmpi" in line)
    return next((name for name in names if Path(name).name.startswith("libmpi")), "")
