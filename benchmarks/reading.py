"""What it costs to read the rows of a data file, and to compare them with its record each time.

    python benchmarks/reading.py [--megabytes 47] [--block-rows 1024] [--rounds 7]

The file is made in a temporary folder and lies in the page cache, so that the disk does not count.
Each variant has its turn in each round; figures are medians, of one pass over all rows in blocks,
by the clock and of the processor, which is what counts where other programs hold the cores.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from disttrain.data import read_facts
from disttrain.data.writer import write_data_file

PIXELS = 784


def reader(path: Path, block_rows: int) -> Callable[[], None]:
    """Return what reads all rows of a data file as a streaming training does."""
    inputs = read_facts(str(path)).splits["train"].stored_inputs

    def read() -> None:
        for first in range(0, inputs.shape[0], block_rows):
            inputs.rows(first, min(first + block_rows, inputs.shape[0]))

    return read


def by_h5py(path: Path, block_rows: int) -> Callable[[], None]:
    """Return the same by h5py alone."""
    inputs = h5py.File(path)["train/inputs"]

    def read() -> None:
        for first in range(0, len(inputs), block_rows):
            inputs[first : first + block_rows]

    return read


def seconds(read: Callable[[], None]) -> tuple[float, float]:
    """Return how long one pass takes, by the clock and of the processor."""
    begin, used = time.perf_counter(), time.process_time()
    read()
    return time.perf_counter() - begin, time.process_time() - used


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=47)
    parser.add_argument("--block-rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    rows = int(given.megabytes * 1e6 / PIXELS)
    pixels = np.random.default_rng(0).integers(0, 256, (rows, PIXELS), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        ours, others = Path(folder, "ours.h5"), Path(folder, "others.h5")
        write_data_file(ours, {"train": (pixels, np.arange(rows) % 10)})
        with h5py.File(others, "w") as file:
            file["train/inputs"], file["train/targets"] = pixels, np.arange(rows) % 10
        later = reader(ours, given.block_rows)
        seconds(later)
        ways = {
            "no record, plain reads": lambda: seconds(reader(others, given.block_rows)),
            "no record, h5py": lambda: seconds(by_h5py(others, given.block_rows)),
            "record, first reading": lambda: seconds(reader(ours, given.block_rows)),
            "record, later readings": lambda: seconds(later),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                found[name].append(way())
    print(f"{pixels.nbytes / 1e6:.1f} MB, blocks of {given.block_rows} rows, {platform.machine()}")
    for name, times in found.items():
        clock, used = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:24} {clock:7.1f} ms by the clock, {used:7.1f} ms of the processor")


if __name__ == "__main__":
    main()
