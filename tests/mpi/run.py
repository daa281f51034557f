"""`python -m tests.mpi.run N [PYTEST...]`: the collective tests on N ranks, as rank 0 reports them.

Started once by a person, which starts mpirun, and then by mpirun once a rank. Ends with 0 only
where every test passed on every rank, and with something else after `LIMIT` seconds at the latest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from disttrain.environment import launched
from disttrain.launch import find_launcher

TESTS = Path(__file__).parent / "ranks"
LIMIT = 300.0
TIMED_OUT = 124
# Output is not captured: a rank that ends all the others says why, and at once. A signal is not
# heard by a rank that waits inside MPI: past its time limit a test ends by a thread.
OPTIONS = ["-s", "-o", "timeout=60", "-o", "timeout_method=thread"]


def start(ranks: int, arguments: list[str], limit: float = LIMIT) -> int:
    """Run the tests on `ranks` ranks and return mpirun's exit code, or 124 past the limit."""
    launcher = find_launcher()
    color = "--color=yes" if sys.stdout.isatty() else "--color=no"
    program = [sys.executable, "-m", "tests.mpi.run", color, *arguments]
    job = subprocess.Popen(
        launcher.command(ranks, program),
        env=os.environ | launcher.environment(ranks) | {"OMP_NUM_THREADS": "1"},
        cwd=TESTS.parents[2],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return job.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"not over after {limit:.0f} s on {ranks} ranks", file=sys.stderr)
        # mpirun answers TERM by ending its ranks; the group goes where it doesn't.
        job.terminate()
        try:
            job.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
        return TIMED_OUT


def take_part(rank: int, arguments: list[str]) -> int:
    """Run the tests as one rank: rank 0 prints its report, the others nothing."""
    if rank:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return int(pytest.main([str(TESTS), *OPTIONS, *arguments]))


if __name__ == "__main__":
    job = launched()
    if job is not None:
        sys.exit(take_part(job.rank, sys.argv[1:]))
    sys.exit(start(int(sys.argv[1]), sys.argv[2:]))
