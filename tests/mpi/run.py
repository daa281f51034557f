"""`python -m tests.mpi.run N [PYTEST...]`: the collective tests on N ranks, as rank 0 reports them.

Started once by a person, which starts mpirun, and then by mpirun once a rank. Ends with 0 only
where every test passed on every rank, and with something else after `LIMIT` seconds at the latest.
`make test` runs the same tests, each an item of its own: see suite.py.
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

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parent / "ranks"
LIMIT = 600.0
TIMED_OUT = 124
# Output is not captured: a rank that ends all the others says why, and at once. A signal is not
# heard by a rank that waits inside MPI: past its time limit a test ends by a thread.
OPTIONS = ["-s", "-o", "timeout=100", "-o", "timeout_method=thread"]


def start(ranks: int, arguments: list[str], **options: object) -> subprocess.Popen:
    """Start mpirun with the tests on `ranks` ranks, in a session of its own."""
    launcher = find_launcher()
    options["env"] = (
        os.environ
        | launcher.environment(ranks)
        | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}
        | options.pop("env", {})
    )
    return subprocess.Popen(
        launcher.command(ranks, [sys.executable, "-m", "tests.mpi.run", *arguments]),
        cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True, **options,
    )  # fmt: skip


def stop(job: subprocess.Popen) -> None:
    """End a job: mpirun answers TERM by ending its ranks; the session goes where it doesn't."""
    job.terminate()
    try:
        job.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def by_hand(ranks: int, arguments: list[str]) -> int:
    """Run the tests on `ranks` ranks and return mpirun's exit code, or 124 past the limit."""
    job = start(ranks, ["--color=yes" if sys.stdout.isatty() else "--color=no", *arguments])
    try:
        return job.wait(LIMIT)
    except subprocess.TimeoutExpired:
        print(f"not over after {LIMIT:.0f} s on {ranks} ranks", file=sys.stderr)
        return TIMED_OUT
    finally:
        stop(job)


def take_part(rank: int, arguments: list[str]) -> int:
    """Run the tests as one rank: rank 0 prints its report, the others nothing."""
    if rank:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return int(pytest.main([str(TESTS), *OPTIONS, *arguments]))


if __name__ == "__main__":
    job = launched()
    if job is not None:
        sys.exit(take_part(job.rank, sys.argv[1:]))
    sys.exit(by_hand(int(sys.argv[1]), sys.argv[2:]))
