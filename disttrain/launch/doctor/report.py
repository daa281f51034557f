"""The output of the doctor: lines for people, one object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from disttrain.environment import VERSION
from disttrain.launch.doctor.finding import SEVERITIES, Finding

if TYPE_CHECKING:
    from disttrain.launch.doctor.facts import Disk, Facts

__all__ = ["as_object", "in_one_line", "in_words"]

# Findings of one name that people are shown; the object has them all.
SHOWN = 3


def as_object(facts: Sequence[Facts], findings: Sequence[Finding]) -> dict[str, Any]:
    """Return facts and findings as one JSON object."""
    counts = {f"{s}s": sum(f.severity == s for f in findings) for s in SEVERITIES}
    return {
        "disttrain": VERSION,
        "ranks": len(facts),
        "hosts": list(dict.fromkeys(rank.host for rank in facts)),
        **counts,
        "findings": [vars(finding) for finding in findings],
        "facts": [rank.plain() for rank in facts],
    }


def in_words(facts: Sequence[Facts], findings: Sequence[Finding]) -> list[str]:
    """Return the lines for people: what there is, the findings, how many they are."""
    lines = list(summary(facts)) if facts else []
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.name] = counts.get(finding.name, 0) + 1
        if counts[finding.name] <= SHOWN:
            lines += ["", f"{finding.severity}: {finding.what}", f"   cure: {finding.cure}"]
    more = sum(count - SHOWN for count in counts.values() if count > SHOWN)
    if more:
        lines += ["", f"{more} more of the same kinds: --json has them all"]
    return [*lines, "", closing(findings)]


def in_one_line(finding: Finding) -> str:
    """Return a finding and its cure as one line, which other ranks' lines can't cut in two."""
    return f"{finding.what}; cure: {finding.cure}"


def closing(findings: Sequence[Finding]) -> str:
    """Return the last line."""
    counts = [(s, sum(f.severity == s for f in findings)) for s in SEVERITIES[:2]]
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts if count]
    return ", ".join(parts) or "no problems found"


def summary(facts: Sequence[Facts]) -> Iterator[str]:
    """Yield a line a subject on what there is, as rank 0 sees it."""
    root = facts[0]
    hosts = list(dict.fromkeys(rank.host for rank in facts))
    ranks = f"{len(facts)} rank{'s' if len(facts) > 1 else ''}"
    where = f"{len(hosts)} host{'s' if len(hosts) > 1 else ''} ({', '.join(hosts[:4])}"
    yield f"disttrain {VERSION}: {ranks} on {where}{', ...' if len(hosts) > 4 else ''})"
    if root.mpi:
        yield f"  MPI        {_mpi(root)}"
    if p := root.processor:
        yield (
            f"  processor  {p.model}; rank 0 has {len(p.cores)} of {p.machine_cores} cores and "
            f"{p.threads} BLAS thread{'s' if p.threads > 1 else ''} ({p.blas} {p.kernel})"
        )
    if root.gpu:
        yield f"  GPU        {_gpu(root)}"
    if d := root.disk:
        yield f"  run folder {d.folder}: {_disk(d)}"


def _disk(disk: Disk) -> str:
    """Return what was measured: nothing where nothing could be written."""
    parts = [disk.kind or "unknown file system"]
    if not disk.write_problem:
        parts.append(f"{disk.free / 1e9:,.0f} GB free")
        if not disk.sync_problem:
            parts.append(f"a megabyte synced in {1000 * disk.sync_seconds:.0f} ms")
    return ", ".join(parts)


def _mpi(root: Facts) -> str:
    mpi = root.mpi
    assert mpi is not None
    if mpi.problem:
        return mpi.problem
    abi = f", its build for {mpi.abi}" if mpi.abi else ""
    return f"{mpi.name} (MPI {mpi.standard}), mpi4py {mpi.mpi4py}{abi}"


def _gpu(root: Facts) -> str:
    gpu = root.gpu
    assert gpu is not None
    if not gpu.device:
        driver = "no NVIDIA driver, " if not gpu.has_driver else ""
        return f"none ({driver}{gpu.problem})"
    return f"{gpu.device}, driver {gpu.driver}, CuPy {gpu.cupy}, CUDA {gpu.runtime_cuda}"
