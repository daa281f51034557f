"""The whole table of a step's speed, each cell beside what is wanted: in under four minutes.

    python benchmarks/table.py [--ranks 2] [--torch-python PATH] [--quick] [--json FILE]
        [--cases S/128,L/512]

The cells of `step.py` and `run.py`, two ranks while a foreign process keeps each core busy, and
rows that are streamed. Run it on a quiet machine: the last lines say what else ran.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import run
import step
from worker import Worker, medians

# Name of a figure → what is wanted of it: at most (<) or at least (>), for which cases.
WANTED: list[tuple[str, str, dict[str, float]]] = [
    ("step/floor", "<", {"S/32": 1.2, "L/32": 1.15, "S/128": 1.1, "S/512": 1.1, "L/128": 1.07,
                         "L/512": 1.07, "M/128": 1.07, "M/512": 1.07}),
    ("torch/step", ">", {"S/32": 1.8, "S/128": 1.8, "S/512": 1.1, "L/32": 1.1, "L/128": 1.1,
                         "L/512": 1.1, "M/32": 1.1, "M/128": 1.1, "M/512": 1.1}),
    ("ddp/ranks", ">", {"S/32": 12, "S/128": 6, "L/128": 3.2, "M/128": 2.3}),
    ("floors/ranks", ">", dict.fromkeys(
        ("S/128", "S/512", "L/128", "L/512", "M/128", "M/512"), 0.9)),
    ("exact/fast 1", "<", dict.fromkeys(
        ("S/128", "S/512", "L/128", "L/512", "M/128", "M/512"), 1.02)),
    ("exact/fast", "<", dict.fromkeys(
        ("S/128", "S/512", "L/128", "L/512", "M/128", "M/512"), 1.02)),
    ("busy/quiet", "<", {"S/128": 3, "L/128": 3}),
    ("ddp busy/busy", ">", {"S/128": 2, "L/128": 2}),
    ("memory/streamed", ">", {"L/128": 0.97}),
]  # fmt: skip
LINE = "{:58} {:>8} {:>10}  {}".format
OF_RUNS = {"--help": ("<", 0.2), "4 ranks": ("<", 2.5), "end of": ("<", 0.02),
           "memory, training": ("<", 1.2)}  # fmt: skip
EXPLANATION = """\
step/floor       a step over its matrix products, one rank of one thread
torch/step       PyTorch's step, the better of eager and fused SGD, over ours
ddp/ranks        DistributedDataParallel, tuned, over our {ranks} ranks in exact mode
floors/ranks     {ranks} copies of the products that never meet, over our {ranks} ranks
exact/fast       exact mode over fast mode, on one rank (1) and on {ranks}
busy/quiet       our {ranks} ranks while a foreign process keeps each core busy, over without
ddp busy/busy    DistributedDataParallel over ours, both beside the foreign processes
memory/streamed  a step on rows in memory over one on rows that are read from the file (which lies
                 in the page cache)"""


def main() -> None:
    """Measure all, print the table."""
    options, begin = step.arguments(), time.perf_counter()
    workers, facts = step.start(options)
    rounds, target = (5, 0.01) if options.quick else (13, 0.02)
    cases: dict[str, dict[str, Any]] = {}
    try:
        for case, widths, batch in step.cases(options, step.NETWORKS):
            measured = step.measure(case, widths, batch, workers, facts, rounds, target)
            cases[case] = measured | best_of_torch(measured)
            if case in ("S/128", "L/128"):
                cases[case] |= beside_others(widths, batch, workers, rounds, target)
            if case == "L/128":
                cases[case] |= streamed(workers["ours"], rounds, target)
    finally:
        for worker in workers.values():
            worker.close()
    print("Medians of interleaved rounds, float32, one BLAS thread a rank. S = 784-128-10,")
    print("L = 784-800-10, M = 784-1024-1024-10; /N: global batch\n")
    show(cases)
    of_runs = {}
    for name, value in run.figures(options.ranks) if not options.cases else ():
        of_runs[name] = value
        sign, limit = next((w for key, w in OF_RUNS.items() if name.startswith(key)), ("", 0.0))
        print(LINE(name, *judged(value, sign, limit)), flush=True)
    facts["seconds"] = round(time.perf_counter() - begin)
    close(facts)
    if options.json:
        found = {"facts": facts, "cases": cases, "runs": of_runs}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def best_of_torch(row: dict[str, Any]) -> dict[str, float]:
    """Return PyTorch's better step over ours."""
    sides = [row[key] for key in ("torch/step", "fused/step") if key in row]
    return {"torch/step": min(sides)} if sides else {}


def beside_others(
    widths: list[int], batch: int, workers: dict[str, Worker], rounds: int, target: float
) -> dict[str, float]:
    """Return what our ranks and those of PyTorch take while other processes want the cores."""
    ways: dict[str, Callable[[int], float]] = {}
    for side, variant in (("ranks", "shared"), ("ddp", "fused")):
        if side in workers:
            ways[side] = partial(workers[side].seconds, widths=widths, batch=batch, variant=variant)
    if "ranks" not in ways:
        return {}
    quiet = medians({"ranks": ways["ranks"]}, rounds, target)["ranks"]
    with busy_cores():
        found = medians(ways, rounds, max(target, 0.03))
    row = {"busy/quiet": found["ranks"] / quiet}
    return row | ({"ddp busy/busy": found["ddp"] / found["ranks"]} if "ddp" in found else {})


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep each core busy with a process of its own."""
    pin = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    cores = sorted(os.sched_getaffinity(0))
    others = [subprocess.Popen([sys.executable, "-c", pin, str(core)]) for core in cores]
    time.sleep(0.5)
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def streamed(worker: Worker, rounds: int, target: float) -> dict[str, float]:
    """Return a step on rows in memory over one on rows read from the file."""
    widths, batch = step.NETWORKS["L"], 128
    ways = {
        variant: partial(worker.seconds, widths=widths, batch=batch, variant=variant)
        for variant in ("fast", "stream")
    }
    # Turns of a whole epoch: each reads every block of the file once.
    found = medians(ways, rounds, max(target, 0.8))
    return {"memory/streamed": found["fast"] / found["stream"]}


def show(cases: dict[str, dict[str, Any]]) -> None:
    """Print each figure of a step with what is wanted."""
    print(LINE("", "found", "wanted", ""))
    for name, sign, wanted in WANTED:
        for case, limit in wanted.items():
            value = cases.get(case, {}).get(name)
            if value is not None:
                print(LINE(f"{name} {case}", *judged(value, sign, limit)), flush=True)


def close(facts: dict[str, Any]) -> None:
    """Print what the figures are, and where they were measured."""
    print(f"\n{EXPLANATION.format(**facts)}\n\nmachine    {facts['machine']}")
    print(f"BLAS       {facts['blas']}, {facts['threads']} thread")
    print(
        f"versions   numpy {facts['numpy']}, torch {facts['torch']}, {facts.get('mpi', 'no MPI')}"
    )
    print(f"command    {facts['command']}   ({facts['date']}, {facts['seconds']} s)")


def judged(value: float, sign: str, limit: float) -> tuple[str, str, str]:
    """Return a figure, what is wanted, and whether it is missed, as texts."""
    if not sign:
        return f"{value:.3f}", "", ""
    missed = value > limit if sign == "<" else value < limit
    return f"{value:.3f}", f"{sign}= {limit:g}", "missed" if missed else ""


if __name__ == "__main__":
    main()
