"""Steps on several numbers of ranks, each started as a user would, and what more would take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from disttrain.bench.prediction import Machine, Predicted, predict
from disttrain.bench.sums import Link
from disttrain.environment import cores
from disttrain.errors import LauncherError

__all__ = ["LARGEST", "Scaling", "measure"]

LARGEST = 4096
# Rows of a batch for which a step of one rank is measured, as far as the training rows reach.
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
THREADS = "OMP_NUM_THREADS"
LIMIT = 600.0


@dataclass(frozen=True)
class Scaling:
    """What was measured (an object of `bench step` a number of ranks), and what is predicted."""

    batch: int
    threads: str
    machine: Machine
    measured: list[dict[str, Any]]
    predicted: list[Predicted]

    def error(self, ranks: int) -> float | None:
        """Return predicted over measured seconds, less 1; None where that was not measured."""
        found = [m["step"] for m in self.measured if m["ranks"] == ranks]
        said = [p.seconds for p in self.predicted if p.ranks == ranks]
        return said[0] / found[0] - 1 if found and said else None


def measure(
    arguments: Sequence[str],
    ranks: Sequence[int],
    launching: Sequence[str] = (),
    link: Link | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Scaling:
    """Return the steps of `disttrain bench step ARGUMENTS` on each number of ranks.

    `launching` are options of `disttrain launch`. The prediction goes by `link`, or by that between
    the most ranks measured here. Raises LauncherError where a measurement ends without a result.
    """
    threads = os.environ.get(THREADS) or str(max(1, len(cores()) // max(ranks)))
    environment = os.environ | {THREADS: threads}

    def ask(count: int, *more: str) -> dict[str, Any]:
        say(f"measuring {count} rank{'s' * (count > 1)} ...")
        return _answer(
            [*_program("launch"), *launching, "-n", str(count), "bench", "step", *arguments, *more],
            environment,
        )

    alone = ask(1, "--rows", ",".join(map(str, ROWS)))
    found = [ask(n) for n in ranks]
    widest = max(found, key=lambda m: m["ranks"])
    between = link or (
        Link(**widest["link"]) if widest["link"] else Link(0.0, float("inf"))
    )  # fmt: skip
    machine = Machine(
        {int(rows): seconds for rows, seconds in alone["compute_of_rows"].items()},
        widest["message"], between, widest["shared"],
    )  # fmt: skip
    wanted = sorted({*ranks, *(1 << n for n in range(LARGEST.bit_length()))})
    batch = widest["rows"]
    return Scaling(batch, threads, machine, found, predict(machine, batch, wanted))


def _program(*words: str) -> list[str]:
    return [sys.executable, "-m", "disttrain", *words]


def _answer(command: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Return the object that the command prints."""
    try:
        done = subprocess.run(
            [*command, "--json"], env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMIT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LauncherError(
            f"a measurement took more than {LIMIT:g} s: {' '.join(command)}"
        ) from None
    if done.returncode:
        raise LauncherError(
            f"a measurement ended with code {done.returncode}, see above: {' '.join(command)}"
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
