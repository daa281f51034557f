"""What can be wrong with versions: everything must be the same on all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, named, shown
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Seen, check, seen

# What takes part in a training; a plotting library may differ.
TAKE_PART = ("python", "disttrain", "numpy", "h5py", "mpi4py", "pydantic", "cupy")


def _version(rank: Facts, name: str) -> str:
    packages = rank.software.packages if rank.software else {}
    found = (v for key, v in packages.items() if key == name or key.startswith(f"{name}-cuda"))
    return next(found, "not installed")


@check("problem", "start all ranks with the same environment: the same path, or the same image")
def different_versions(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks run different versions of Python or of a package that takes part in a training."""
    known = [r for r in ranks if r.software]
    for name in TAKE_PART:
        groups = by(known, lambda r, name=name: _version(r, name))  # type: ignore[misc]
        if len(groups) > 1:
            parts = [f"{version} on {named(group)}" for version, group in groups.items()]
            yield seen(known, f"{name} differs between ranks: {shown(parts)}")


@check("problem", "copy the same code to all hosts, or install it in a folder that they share")
def different_code(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks run different source files of disttrain under the same version."""
    known = [r for r in ranks if r.software and r.software.code]
    groups = by(known, lambda r: (_version(r, "disttrain"), r.software and r.software.code))
    if len(groups) > 1 and len({version for version, _ in groups}) == 1:
        parts = [f"{code} on {named(group)}" for (_, code), group in groups.items()]
        yield seen(known, f"the source files of disttrain differ: {shown(parts)}")


@check(
    "note",
    "install a C compiler, then `pip install --force-reinstall --no-deps .` in its source folder",
)
def no_compiled_kernels(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The C kernels were not built: the same bits, by slower steps."""
    group = [r for r in ranks if r.software and r.software.kernels == "numpy"]
    if group:
        yield seen(group, f"{named(group)}: no compiled kernels, numpy computes instead")
