"""Time of one training step over its matrix products, beside PyTorch, and on more than one rank.

    python benchmarks/step.py [--quick] [--ranks N] [--torch-python PATH] [--json FILE]

All sides are measured in turns in one run, float32, one BLAS thread per rank; see README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from worker import ONE_THREAD, Worker, machine, medians

from disttrain.errors import LauncherError
from disttrain.launch import find_launcher

HERE = Path(__file__).parent
NETWORKS = {"S": [784, 128, 10], "L": [784, 800, 10], "M": [784, 1024, 1024, 10]}
BATCHES = (32, 128, 512)
HEADS = {
    "case": ("", "{}"),
    "floor": ("floor ms", "{:.3f}"),
    "step": ("step ms", "{:.3f}"),
    "step/floor": ("step/floor", "{:.2f}"),
    "exact/fast 1": ("exact/fast", "{:.2f}"),
    "torch/step": ("torch/step", "{:.2f}"),
    "fused/step": ("fused/step", "{:.2f}"),
    "threads/step": ("{ranks} threads", "{:.2f}"),
    "ranks": ("{ranks} ranks ms", "{:.3f}"),
    "exact/fast": ("exact/fast", "{:.2f}"),
    "floors/ranks": ("of floors", "{:.2f}"),
    "ddp/ranks": ("ddp/ranks", "{:.2f}"),
    "threads/ranks": ("thr/ranks", "{:.2f}"),
    "speed-up": ("speed-up", "{:.2f}"),
    "ceiling": ("ceiling", "{:.2f}"),
}
EXPLANATION = """\
floor      only the sgemm calls of a step: same shapes and layouts, arrays made before
step       disttrain.training.trainer.train_step: sampling, reading and normalizing the uint8
           batch, forward, loss, accuracy, backward, update; all of it in the time
torch      torch.nn + torch.optim.SGD(momentum, weight_decay), its batch ready as float32 (no data
           reading in its time); fused: SGD(fused=True)
exact/fast the step in exact mode over that in fast mode, on one rank, then on {ranks} ranks
{ranks} threads  one PyTorch process of {ranks} threads (the better one) over our step
{ranks} ranks ms {ranks} ranks of ours share the same global batch: exact mode, shared products
of floors  {ranks} copies of the sgemm calls that never communicate, over our {ranks} ranks
ddp/ranks  PyTorch's DistributedDataParallel over gloo on {ranks} ranks of one thread (one bucket,
           gradients as views of it, static graph, fused SGD) over our {ranks} ranks
thr/ranks  one PyTorch process of {ranks} threads over our {ranks} ranks
speed-up   one rank's step over that of {ranks} ranks that share the same global batch
ceiling    the same for the floor: {ranks} copies of the sgemm calls, each for its share of the
           batch, that never communicate: what this machine allows"""


def main() -> None:
    """Measure all cases and print the table."""
    options = arguments()
    begin = time.perf_counter()
    workers, facts = start(options)
    rounds, target = (9, 0.012) if options.quick else (25, 0.03)
    rows = []
    try:
        for case, widths, batch in cases(options, NETWORKS if not options.quick else ("S", "L")):
            rows.append(measure(case, widths, batch, workers, facts, rounds, target))
    finally:
        for worker in workers.values():
            worker.close()
    facts["seconds"] = round(time.perf_counter() - begin)
    print_report(rows, facts)
    if options.json:
        options.json.write_text(json.dumps({"facts": facts, "cases": rows}, indent=1) + "\n")


def cases(
    options: argparse.Namespace, networks: Iterable[str]
) -> Iterator[tuple[str, list[int], int]]:
    """Yield the cases that are asked for: name, numbers of units, batch."""
    for name in networks:
        for batch in BATCHES[:2] if options.quick else BATCHES:
            case = f"{name}/{batch}"
            if not options.cases or case in options.cases.split(","):
                yield case, NETWORKS[name], batch


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds, a minute")
    parser.add_argument("--ranks", type=int, default=2, help="also on N ranks (1: not)")
    parser.add_argument("--cases", default="", metavar="S/128,...", help="these steps alone")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH",
                        help="an interpreter that has torch")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def start(options: argparse.Namespace) -> tuple[dict[str, Worker], dict[str, Any]]:
    """Start a process for each side that there is; say what is missing."""
    ours = [sys.executable, str(HERE / "step_ours.py")]
    workers = {"ours": Worker(ours)}
    facts = {"machine": machine(), "ranks": options.ranks, **workers["ours"].ask()}
    if pinned := os.environ.get("OPENBLAS_CORETYPE"):
        facts["blas"] += f" (OPENBLAS_CORETYPE={pinned} in the environment)"
    facts["torch"] = "not installed"
    probe = [options.torch_python, "-c", "import torch"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        torch = [options.torch_python, str(HERE / "step_torch.py")]
        workers["torch"] = Worker(torch)
        facts |= workers["torch"].ask()
        if options.ranks > 1:
            count = str(options.ranks)
            several = dict.fromkeys(ONE_THREAD, count)
            workers["threads"] = Worker([*torch, "--threads", count], several)
            workers["ddp"] = Worker([*torch, "--ranks", count])
    else:
        say("no torch in this Python: its columns stay empty; pip install torch==2.13.0, "
            "or --torch-python PATH of an interpreter that has it")  # fmt: skip
    if options.ranks > 1:
        try:
            launcher = find_launcher()
        except LauncherError as error:
            say(f"one rank only: {error}")
        else:
            command = launcher.command(options.ranks, ours)
            workers["ranks"] = Worker(command, launcher.environment(options.ranks) | ONE_THREAD)
            facts["mpi"] = workers["ranks"].ask()["mpi"]
    words = [Path(w).name if os.path.isabs(w) else w for w in sys.argv[1:]]  # paths tell nothing
    facts["command"] = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    facts["date"] = datetime.date.today().isoformat()
    return workers, facts


def measure(
    case: str,
    widths: list[int],
    batch: int,
    workers: dict[str, Worker],
    facts: dict[str, Any],
    rounds: int,
    target: float,
) -> dict[str, Any]:
    """Return the medians of one case, all variants in turns, and their ratios."""

    def way(side: str, variant: str) -> Callable[[int], float]:
        request = partial(workers[side].seconds, widths=widths, batch=batch, variant=variant)
        return lambda steps: request(steps)

    ways = {"step": way("ours", "fast"), "floor": way("ours", "floor")}
    ways["exact"] = way("ours", "shared")
    if "torch" in workers:
        ways["torch"] = way("torch", "torch")
        if facts["fused"]:
            ways["fused"] = way("torch", "fused")
    if "ddp" in workers:
        best = "fused" if facts["fused"] else "torch"
        ways |= {"ddp": way("ddp", best), "threads": way("threads", "torch")}
        ways["threads fused"] = way("threads", best)
    if "ranks" in workers:
        ways["ranks"] = way("ranks", "shared")
        ways["ranks fast"] = way("ranks", "fast")
        ways["ranks floor"] = way("ranks", "floor")
    row = ratios(medians(ways, rounds, target))
    say(f"{case}: step/floor {row['step/floor']:.2f}")
    return {"case": case} | row


def ratios(seconds: dict[str, float]) -> dict[str, Any]:
    """Return the medians of the sides in milliseconds, and what the table says of them."""
    step, floor = seconds["step"], seconds["floor"]
    if "threads" in seconds:
        seconds["threads"] = min(seconds["threads"], seconds["threads fused"])
    row: dict[str, Any] = {side: each * 1e3 for side, each in seconds.items()}
    row["step/floor"], row["exact/fast 1"] = step / floor, seconds["exact"] / step
    for side in ("torch", "fused", "threads"):
        if side in seconds:
            row[f"{side}/step"] = seconds[side] / step
    if ranks := seconds.get("ranks"):
        row["exact/fast"] = ranks / seconds["ranks fast"]
        for side in ("ddp", "threads"):
            if side in seconds:
                row[f"{side}/ranks"] = seconds[side] / ranks
        row["speed-up"], row["ceiling"] = step / ranks, floor / seconds["ranks floor"]
        row["floors/ranks"] = seconds["ranks floor"] / ranks
    return row


def print_report(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Print the table, what its columns are, and where it was measured."""
    print("Time of one training step, float32, one BLAS thread per rank: medians of interleaved")
    print("rounds. S = 784-128-10, L = 784-800-10, M = 784-1024-1024-10; /N: global batch\n")
    print("  ".join(f"{head.format(**facts):>10}" for head, _ in HEADS.values()))
    for row in rows:
        cells = [form.format(row[key]) if key in row else "-" for key, (_, form) in HEADS.items()]
        print("  ".join(f"{cell:>10}" for cell in cells))
    print(f"\n{EXPLANATION.format(**facts)}\n")
    print(f"machine    {facts['machine']}\nBLAS       {facts['blas']}, {facts['threads']} thread")
    print(f"versions   numpy {facts['numpy']}, torch {facts['torch']}, {facts['mpi']}")
    print(f"command    {facts['command']}   ({facts['date']}, {facts['seconds']} s)")


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
