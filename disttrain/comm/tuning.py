"""What the MPI libraries read from the environment when they start; what the user has set stays."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from disttrain.environment import crowded

__all__ = ["tune"]

# MPICH's collectives in shared memory wait without yielding the core: with 3 ranks on 2 cores a
# barrier takes 11 ms, and 0.1 to 1 ms by messages. With a core for each rank they are the fastest,
# 1 microsecond.
CROWDED = {
    f"MPIR_CVAR_{call}_POSIX_INTRA_ALGORITHM": "mpir"
    for call in ("ALLREDUCE", "BARRIER", "BCAST", "REDUCE")
} | {"MPIR_CVAR_POLLS_BEFORE_YIELD": "1"}


def tune(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set these variables in `environment`; called before MPI is imported."""
    for variable, value in (CROWDED if crowded(environment) else {}).items():
        environment.setdefault(variable, value)
