"""Time of each way to sum a message over ranks, over what the bandwidth allows.

    python benchmarks/allreduce.py [--quick] [--ranks 2,3,4] [--json FILE]

Starts itself under mpirun for each number of ranks; all ways in turns; see README.md.
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
from pathlib import Path
from typing import Any

from worker import ONE_THREAD, machine

from disttrain.launch import find_launcher

RANKS = Path(__file__).with_name("allreduce_ranks.py")
WAYS = ("window", "allreduce", "buckets", "ring")
EXPLANATION = """\
Time of the slowest rank from a barrier to the complete sum, medians of interleaved rounds; each
rank has written its whole message just before. Behind it, the time over the bound:
message    2(N-1)/N * bytes / bandwidth, the least that any sum by messages can take; bandwidth is
           what each rank sends while all of them pass such messages round a ring by Sendrecv, with
           the same size in the same round
memory     the bound of the window: each rank reads its slice of N messages and writes it once,
           (N+1)/N * bytes, at the bandwidth (bytes read + bytes written) of copies of such a
           message by all ranks at once"""
OVERLAP = """\
Does it pay to send buckets while backpropagation goes on? Compute is a chain of sgemm calls, about
as long as the sum; "end" is compute and then one sum, "buckets" an Iallreduce for each finished
bucket of that many MiB between the sgemm calls. ms, medians of interleaved rounds."""


def main() -> None:
    """Start the ranks, collect what they measured and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes, < 30 s")
    parser.add_argument("--ranks", default="2,3,4", help="numbers of ranks, with commas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    before, begin = machine(), time.perf_counter()
    results = [measured(int(n), options.quick) for n in options.ranks.split(",")]
    words = shlex.join(["python", "benchmarks/allreduce.py", *sys.argv[1:]])
    print("Sum of a float32 message over the ranks of one host\n")
    heads = ("ranks", "MB", *WAYS, "GB/s message", "GB/s memory")
    print("  ".join(f"{head:>15}" if head in WAYS else f"{head:>5}" for head in heads))
    for result in results:
        for row in result["sums"]:
            print(line_of(result["ranks"], row))
    print(f"\n(ms, and times the bound)\n{EXPLANATION}\n\n{OVERLAP}\n")
    keys = list(results[0]["overlap"][0])
    print("  ".join(f"{key:>14}" for key in ("ranks", *keys)))
    for result in results:
        for row in result["overlap"]:
            cells = [f"{result['ranks']:>14}", *(f"{row[key]:14.2f}" for key in keys)]
            print("  ".join(cells))
    seconds = round(time.perf_counter() - begin)
    print(f"\nmachine    {before}; ranks beyond the cores\n           take turns on them")
    print(f"versions   {results[0]['versions']}")
    print(f"command    {words}   ({datetime.date.today().isoformat()}, {seconds} s)")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": before, "results": results}, indent=1) + "\n"
        )


def measured(ranks: int, quick: bool) -> dict[str, Any]:
    """Return what `ranks` ranks measured."""
    launcher = find_launcher()
    program = [sys.executable, str(RANKS), *(["--quick"] if quick else [])]
    environment = {**os.environ, **launcher.environment(ranks), **ONE_THREAD}
    done = subprocess.run(
        launcher.command(ranks, program), env=environment, stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(next(x for x in done.stdout.splitlines() if x.startswith("{")))


def line_of(ranks: int, row: dict[str, Any]) -> str:
    """Return one line of the table."""
    share = 2 * (ranks - 1) / ranks
    bounds = dict.fromkeys(WAYS, share * row["bytes"] / row["message bandwidth"])
    bounds["window"] = (ranks + 1) / ranks * row["bytes"] / row["memory bandwidth"]
    cells = [f"{ranks:>5}", f"{row['bytes'] / 1e6:5.1f}"]
    for way in WAYS:
        cells.append(f"{row[way] * 1e3:8.3f} {row[way] / bounds[way]:5.1f}x")
    cells += [f"{row[f'{kind} bandwidth'] / 1e9:12.1f}" for kind in ("message", "memory")]
    return "  ".join(cells)


if __name__ == "__main__":
    main()
