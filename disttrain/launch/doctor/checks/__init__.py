"""Everything that can be found: one function a finding, from all ranks' facts, by subject."""

from __future__ import annotations

from collections.abc import Sequence

from disttrain.launch.doctor.checks import (
    disk,
    gpu,
    looking,
    machine,
    mpi,
    network,
    processor,
    software,
)
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import SEVERITIES, Check, Finding

__all__ = ["CHECKS", "JOINING", "judge"]

CHECKS: tuple[Check, ...] = tuple(
    found
    for room in (mpi, processor, machine, gpu, software, disk, network, looking)
    for found in vars(room).values()
    if isinstance(found, Check)
)

# Why a rank is not with the others.
JOINING = (mpi.singletons, mpi.not_joined, mpi.mpi_not_loaded)


def judge(ranks: Sequence[Facts], checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Return all findings, the worst first; a check that fails itself is one of them."""
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check.findings(ranks)
        except Exception as error:
            findings.append(looking.broken(check, error))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
