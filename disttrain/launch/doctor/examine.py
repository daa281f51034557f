"""The examination: joins the ranks, collects the facts of each, and judges them on rank 0.

Between collective calls nothing raises, so that all ranks make the same calls, whatever they find.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from disttrain.comm import Communicator, connect
from disttrain.comm.alone import Alone
from disttrain.environment import launched
from disttrain.launch.doctor import disk
from disttrain.launch.doctor.facts import Facts, Launch, from_plain
from disttrain.launch.doctor.observe import PATIENCE, observe, within
from disttrain.launch.doctor.silence import CONNECTING

__all__ = ["examine", "join", "look_here"]

# Seconds in which a host must say whether it sees a file.
GLANCE = 2.0


def examine(
    folder: Path, tell: Callable[[str], None] = lambda stage: None, patience: float = PATIENCE
) -> list[Facts]:
    """Return the facts of all ranks, in their order, on rank 0; elsewhere nothing. Collective.

    `folder` is the run folder to be tried out. `tell` is called with each stage of the work. What
    can hang is given `patience` seconds.
    """
    tell(CONNECTING)
    comm, error = join()
    tell("looking at the hosts")
    folder, name = comm.share((disk.whole(folder), uuid.uuid4().hex))
    mine = look_here(comm, folder, error, patience)
    tell("exchanging what the ranks have found")
    token = comm.share(_leave_token(mine, name) if comm.is_root else None)
    try:
        mine |= {"disk": _with_token(mine.get("disk"), token, comm.is_root)}
        all_ranks = comm.gather(Facts(**mine).plain())
    finally:
        if comm.is_root and token:
            within(GLANCE, {"token": lambda: token.unlink(missing_ok=True)})
    return [from_plain(facts) for facts in all_ranks]


def join() -> tuple[Communicator, str]:
    """Return the ranks of this job; or, where they can't be joined, this one alone, and why."""
    try:
        return connect(), ""
    # Whatever MPI raises: this is what the user wants to know.
    except Exception as error:
        return Alone(), (str(error) or type(error).__name__).splitlines()[0]


def look_here(
    comm: Communicator, folder: Path, error: str = "", patience: float = PATIENCE
) -> dict[str, Any]:
    """Return the fields of this rank's `Facts`. Not collective, never raises."""
    found = observe(comm, folder, comm.is_root or comm.local_rank == 0, patience)
    job = launched()
    launch = Launch(
        variable=job.variable if job else "",
        processes=job.size if job else 1,
        error=error,
        programs=found.pop("programs", ()),
    )
    rank = job.rank if job and error else comm.rank
    return {"rank": rank, "host": socket.gethostname(), "launch": launch} | found


def _leave_token(mine: dict[str, Any], name: str) -> Path | None:
    """Write in rank 0's folder what the other hosts are to look for."""
    if not mine.get("disk") or mine["disk"].write_problem:
        return None
    token = Path(mine["disk"].tested) / f".doctor-{name}"
    found, _ = within(GLANCE, {"token": lambda: token.write_text(name)})
    return token if found else None


def _with_token(seen: disk.Disk | None, token: Path | None, is_root: bool) -> disk.Disk | None:
    """Add to a host's view of the run folder whether rank 0's file is there."""
    if seen is None or token is None or is_root:
        return seen
    found, _ = within(GLANCE, {"token": token.exists})
    return replace(seen, token_seen=found.get("token"))
