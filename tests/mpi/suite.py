"""The collective tests as items of the suite: one mpirun a number of ranks, an item for each test.

The names are collected once, by a process of its own without MPI's launcher. When the first item of
a number of ranks runs, mpirun starts with all chosen tests of that number; rank 0 writes the report
of each into a file as soon as it has it, and each item waits for its own.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.mpi.run import ROOT, TESTS, start, stop

# Variables that say to the ranks' conftest: only collect, into this file; run the tests that are
# named in this file; write reports into this one.
COLLECT, CHOSEN, REPORTS = "RANKS_COLLECT", "RANKS_CHOSEN", "RANKS_REPORTS"
# Set to anything: run only those that `sampled` returns.
SAMPLED = "RANKS_SAMPLED"
# Seconds without any news of a job, after which it is ended: each test has a limit of 100 s.
PATIENCE = 240.0
# Files of a stack that say nothing of a test that hangs.
FRAMEWORK = ("/_pytest/", "/pluggy/", "/threading.py", "<frozen runpy>")


@functools.cache
def collect() -> list[dict[str, Any]]:
    """Return the name of each collective test, and whether it is long."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collected.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "timeout=60",
             str(TESTS)],
            cwd=ROOT, env=os.environ | {COLLECT: str(path)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise pytest.UsageError(f"{TESTS} can't be collected:\n{done.stdout}{done.stderr}")
        return json.loads(path.read_text())


def sampled(ranks: int, names: Sequence[str]) -> set[str]:
    """Return the tests that are not left out on so many ranks: some parameters of each function.

    Every function of `names` is run on 1, 2, 3 and 4 ranks, and every name on 2, 3 or 4.
    """
    turn = {1: 0, 2: 0, 3: 1, 4: 2}.get(ranks, 0)
    functions = [name.partition("[")[0] for name in names]
    sets, seen, found = Counter(functions), Counter[str](), set()
    for name, function in zip(names, functions, strict=True):
        if seen[function] % 3 == min(turn, sets[function] - 1):
            found.add(name)
        seen[function] += 1
    return found


def stacks_path(reports: Path, rank: int) -> Path:
    """Return where a rank writes its threads' stacks when a test takes too long."""
    return reports.with_name(f"{reports.stem}-stacks-{rank}.txt")


class Job:
    """The chosen tests on one number of ranks."""

    def __init__(self, ranks: int, names: Sequence[str], folder: Path) -> None:
        self._ranks, self._reports = ranks, folder / f"reports-{ranks}.jsonl"
        self._output = folder / f"output-{ranks}.txt"
        chosen = folder / f"chosen-{ranks}.json"
        chosen.write_text(json.dumps(list(names)))
        self._reports.touch()
        self._read, self._found, self._news = 0, {}, time.monotonic()
        self._told = False
        with open(self._output, "w") as output:
            self._process = start(
                ranks, ["-q", "--color=no"], stdout=output, stderr=subprocess.STDOUT,
                env={CHOSEN: str(chosen), REPORTS: str(self._reports)},
            )  # fmt: skip

    def outcome(self, name: str) -> tuple[str, str]:
        """Return how a test ended ("passed", "failed", "skipped") and what is to be said of it."""
        while True:
            # In this order: what was written before the end is read after it.
            ended = self._process.poll() is not None
            self._look()
            if name in self._found:
                return self._found[name]
            if ended or time.monotonic() - self._news > PATIENCE:
                stop(self._process)
                return "failed", self._why(ended)
            time.sleep(0.02)

    def _why(self, ended: bool) -> str:
        """Return why there is no report: once what is known of it, then that it was told."""
        if self._told:
            return f"not run: the job of {self._ranks} ranks was over, see the first failure"
        self._told = True
        how = f"ended with {self._process.returncode}" if ended else "had no news for too long"
        parts = [f"no report: the job of {self._ranks} ranks {how}; what it printed last:"]
        parts += [self._output.read_text()[-2000:]]
        for rank in range(self._ranks):
            path = stacks_path(self._reports, rank)
            stack = path.read_text().splitlines() if path.exists() else []
            # Of all threads the main one comes last; of its calls the innermost comes first.
            own = [line for line in stack if not any(name in line for name in FRAMEWORK)]
            parts += [f"where rank {rank} stood:", *own[-20:]] if own else []
        return "\n".join(parts)

    def _look(self) -> None:
        """Read the reports that are new."""
        with open(self._reports, encoding="utf-8") as file:
            file.seek(self._read)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                self._read += len(line.encode())
                self._news = time.monotonic()
                report = json.loads(line)
                self._found[report["name"]] = report["outcome"], report["text"]

    def close(self) -> None:
        """End what still runs."""
        if self._process.poll() is None:
            stop(self._process)
