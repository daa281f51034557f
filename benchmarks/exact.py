"""What exact mode costs: its step over that of fast mode, on one rank and on several.

    python benchmarks/exact.py [--quick] [--ranks N] [--json FILE]

Fast mode and both arithmetics of exact mode are measured in turns in one run, float32, one BLAS
thread per rank, 8 leaves; see README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from worker import ONE_THREAD, Worker, machine, medians

from disttrain.launch import find_launcher

HERE = Path(__file__).parent
NETWORKS = {"L": [784, 800, 10], "M": [784, 1024, 1024, 10]}
BATCHES = (128, 512)
WAYS = ("fast", "shared", "leaves")
# Training samples of MNIST: an audit and a record of digests are made once an epoch.
EPOCH = 54_000


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds, < 30 s")
    parser.add_argument("--ranks", type=int, default=2, help="also on N ranks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    begin, launcher = time.perf_counter(), find_launcher()
    ours = [sys.executable, str(HERE / "step_ours.py")]
    several = launcher.command(options.ranks, ours)
    workers = {
        1: Worker(ours),
        options.ranks: Worker(several, launcher.environment(options.ranks) | ONE_THREAD),
    }
    facts = {"machine": machine(), **workers[options.ranks].ask()}
    rounds, target = (9, 0.02) if options.quick else (25, 0.05)
    rows = []
    try:
        for name, widths in list(NETWORKS.items())[: 1 if options.quick else None]:
            for batch in BATCHES:
                for ranks, worker in workers.items():
                    rows.append(measure(name, widths, batch, ranks, worker, rounds, target))
                    print(" ".join(f"{k} {v}" for k, v in rows[-1].items()), file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    facts["seconds"] = round(time.perf_counter() - begin)
    report(rows, facts)
    if options.json:
        options.json.write_text(json.dumps({"facts": facts, "cases": rows}, indent=1) + "\n")


def measure(
    name: str, widths: list[int], batch: int, ranks: int, worker: Worker, rounds: int,
    target: float,
) -> dict[str, Any]:  # fmt: skip
    """Return the medians of one case and the ratios to fast mode."""
    ways = {
        way: partial(worker.seconds, widths=widths, batch=batch, variant=way)
        for way in (*WAYS, "audit")
    }
    seconds = medians(ways, rounds, target)
    row: dict[str, Any] = {"case": f"{name}/{batch}", "ranks": ranks}
    row |= {f"{way} ms": round(seconds[way] * 1e3, 3) for way in WAYS}
    row |= {f"{way}/fast": round(seconds[way] / seconds["fast"], 2) for way in WAYS[1:]}
    row["audit ms"] = round(seconds["audit"] * 1e3, 3)
    row["audit %"] = round(100 * seconds["audit"] / (EPOCH / batch * seconds["fast"]), 3)
    return row


def report(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Print the table and where it was measured."""
    print("Time of one training step, float32, one BLAS thread per rank, 8 leaves: medians of")
    print(
        "interleaved rounds. L = 784-800-10, M = 784-1024-1024-10; /N: global batch. The audit of"
    )
    print("replicas with the record of digests, beside an epoch of 54,000 samples\n")
    heads = list(rows[0])
    print("  ".join(f"{head:>11}" for head in heads))
    for row in rows:
        print("  ".join(f"{row[head]!s:>11}" for head in heads))
    pinned = os.environ.get("OPENBLAS_CORETYPE")
    note = f" (OPENBLAS_CORETYPE={pinned} in the environment)" if pinned else ""
    print(f"\nmachine    {facts['machine']}\nBLAS       {facts['blas']}{note}")
    print(f"versions   numpy {facts['numpy']}, {facts['mpi']}")
    words = [Path(w).name if os.path.isabs(w) else w for w in sys.argv[1:]]
    command = shlex.join(["python", "benchmarks/exact.py", *words])
    print(f"command    {command}   ({datetime.date.today().isoformat()}, {facts['seconds']} s)")


if __name__ == "__main__":
    main()
