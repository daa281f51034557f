"""Collects the facts of this rank: a subject that fails or hangs does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from disttrain.arrays.facts import gpu_facts
from disttrain.comm import Communicator
from disttrain.comm.facts import mpi_facts
from disttrain.launch.doctor import disk, host, interfaces, software

__all__ = ["PATIENCE", "observe", "within"]

# Seconds that all subjects together may take: a dead network disk never answers.
PATIENCE = 8.0

Look = Callable[[], Any]


def observe(
    comm: Communicator, folder: Path, looks_at_disk: bool, patience: float = PATIENCE
) -> dict[str, Any]:
    """Return the subjects of `Facts` for this rank, and under `failed` why one is missing.

    `comm` says what a training on this rank would take. Not collective; never raises, and takes
    `patience` seconds at most.
    """
    looks: dict[str, Look] = {
        "machine": host.machine,
        "processor": lambda: host.processor(comm.blas_threads),
        "software": software.software,
        "gpu": lambda: gpu_facts(comm.host_rank),
        "network": interfaces.network,
    }
    if looks_at_disk:
        looks["disk"] = lambda: disk.try_out(folder)
    if comm.is_root:
        looks["programs"] = software.programs
    found, failed = within(patience, looks)
    # In the main thread: the only one that may talk to MPI.
    try:
        found["mpi"] = mpi_facts()
    except Exception as error:
        failed["mpi"] = _said(error)
    return found | {"failed": failed}


def within(seconds: float, looks: Mapping[str, Look]) -> tuple[dict[str, Any], dict[str, str]]:
    """Call all `looks` at once; return what they found by name, and why the others found nothing.

    One that has not answered after `seconds` is left behind in its thread.
    """
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}

    def run(name: str, look: Look) -> None:
        """Look, and keep what comes of it."""
        try:
            found[name] = look()
        except Exception as error:
            failed[name] = _said(error)

    threads = {
        name: threading.Thread(target=run, args=(name, look), name=name, daemon=True)
        for name, look in looks.items()
    }
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = {name: f"no answer in {seconds:g} s" for name in looks if name not in found | failed}
    # Copies: a late thread must not change what is being sent.
    return dict(found), failed | late


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
