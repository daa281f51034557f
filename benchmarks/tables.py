"""Time and peak memory of `disttrain prepare` on long and wide tables, made here.

    python benchmarks/tables.py --rows 1000000 --columns 28 --format csv --folder /tmp

prints one line of JSON: bytes of the table and of the data file, seconds, and the peak of resident
memory of `prepare` in MB. With --mixed some columns are categories, dates and weights, a tenth of
the cells of others are missing, and a test table of a tenth of the rows goes along.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet

BLOCK_CELLS = 4 << 20


def main() -> None:
    """Make the tables, prepare them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=28)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--one-group", action="store_true", help="Parquet as pandas writes it")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--missing", default="median")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        words = ["disttrain", "prepare", "csv", str(made(folder / "train", asked.rows, 0, asked))]
        out = folder / "data.h5"
        words.append(str(out))
        if asked.mixed:
            test = made(folder / "test", asked.rows // 10, 1, asked)
            words += ["--test", str(test), "--weights", "weight", "--missing", asked.missing]
        start = time.perf_counter()
        peak = peak_of([str(Path(sys.executable).with_name(words[0])), *words[1:]])
        took = time.perf_counter() - start
        print(
            json.dumps(
                {
                    **{n: v for n, v in vars(asked).items() if n != "folder"},
                    "table_bytes": (folder / "train").stat().st_size,
                    "data_bytes": out.stat().st_size,
                    "seconds": round(took, 1),
                    "peak_mb": peak,
                }
            )
        )


def peak_of(words: list[str]) -> int:
    """Run a command and return the most memory that it held, in MB.

    What getrusage says of it would be that of this process, if that held more before.
    """
    peak = 0
    process = subprocess.Popen(words)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+)", status):
            peak = max(peak, int(found[1]) >> 10)
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    return peak


def made(path: Path, rows: int, seed: int, asked: argparse.Namespace) -> Path:
    """Write a table block by block and return its path."""
    random = np.random.default_rng(seed)
    step = max(1, BLOCK_CELLS // asked.columns)
    starts = range(0, rows, step)
    blocks = (block(random, start, min(step, rows - start), asked) for start in starts)
    first = next(blocks)
    if asked.one_group:
        whole = pyarrow.Table.from_batches([first, *blocks]).combine_chunks()
        pyarrow.parquet.write_table(whole, path)
        return path
    kinds = {"csv": pyarrow.csv.CSVWriter, "parquet": pyarrow.parquet.ParquetWriter}
    with kinds[asked.format](str(path), first.schema) as writer:
        writer.write_batch(first)
        for each in blocks:
            writer.write_batch(each)
    return path


def block(
    random: np.random.Generator, start: int, rows: int, asked: argparse.Namespace
) -> pyarrow.RecordBatch:
    """Return some rows: numbers of four decimals, and a label that the first of them decides."""
    numbers = random.normal(size=(rows, asked.columns)).round(4)
    columns = {f"f{n}": pyarrow.array(numbers[:, n]) for n in range(asked.columns)}
    if asked.mixed:
        for n in range(0, asked.columns, 2):
            gaps = random.random(rows) < 0.1
            columns[f"f{n}"] = pyarrow.array(numbers[:, n], mask=gaps)
        columns["city"] = pyarrow.array(random.choice(["Bonn", "Köln", "Trier"], rows))
        days = np.datetime64("2012-01-01") + (start + np.arange(rows)) // 1000
        columns["day"] = pyarrow.array(days.astype("datetime64[D]").astype(str))
        columns["weight"] = pyarrow.array(random.integers(1, 4, rows))
    columns["label"] = pyarrow.array(np.where(numbers[:, 1] > 0, "signal", "noise"))
    return pyarrow.RecordBatch.from_pydict(columns)


if __name__ == "__main__":
    main()
