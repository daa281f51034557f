"""What fault tolerance costs where nothing fails: steps with it over steps without, in turns.

    python benchmarks/faults.py [--ranks 2] [--rounds 9]

Each turn is a training of its own, `disttrain launch --fault-tolerance on` or `off` (784-800-10,
batch 128, four epochs of 30,000 rows, of which the first does not count). Prints the medians of a
step, their ratio, and the quartiles of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from run import DISTTRAIN, SETTINGS, write_rows
from worker import machine

ROWS, EPOCHS = 30_000, 4


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(machine(), flush=True)
    seconds: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.h5", ROWS)
        run = folder / "run.toml"
        run.write_text(SETTINGS.format(path=folder / "rows.h5", epochs=EPOCHS))
        for number in range(options.rounds):
            # The order changes: the first of a round may find a machine that just became quiet.
            for way in sorted(seconds, reverse=bool(number % 2)):
                seconds[way].append(step(way, options.ranks, run))
    ratios = [on / off for on, off in zip(seconds["on"], seconds["off"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    on, off = (statistics.median(seconds[way]) for way in ("on", "off"))
    print(f"{options.ranks} ranks, {options.rounds} rounds: {1e3 * on:.3f} ms with, "
          f"{1e3 * off:.3f} ms without; medians {on / off:.3f}, rounds {middle:.3f} "
          f"({low:.3f} to {high:.3f})")  # fmt: skip


def step(way: str, ranks: int, run: Path) -> float:
    """Return the seconds of a step of a training of its own: the median of its later epochs."""
    output = run.parent / "out"
    command = [*DISTTRAIN, "launch", "-n", str(ranks), "--fault-tolerance", way, "train", str(run),
               "--output", str(output), "--overwrite", "--quiet"]  # fmt: skip
    subprocess.run(command, check=True)
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    speeds = [r["samples_per_second"] for r in records if "samples_per_second" in r]
    return 128 / statistics.median(speeds[1:])


if __name__ == "__main__":
    main()
