"""Print the networks of which ranks compute other bits than one rank alone: for test_divisions.

    python -m tests.unit.training.divisions COUNT SEED

One process computes the parts of 1 to 8 ranks, as the package divides them and on numbers that no
trial has seen, and puts them together.
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from disttrain import Settings
from disttrain.comm.alone import Alone
from disttrain.data import Leaves, batch_sizes
from disttrain.data.writer import write_data_file
from disttrain.model.passes import times
from disttrain.model.products import Product, edges, multiply, products_of
from disttrain.training import Run, build_run
from disttrain.training.exact.tiles import tiles_at_once

RANKS, FRESH = range(2, 9), 20


def networks(count: int, seed: int) -> Iterator[tuple[list[int], str, int]]:
    """Yield inputs and units, dtype, and rows of a batch."""
    draw = random.Random(seed)
    for _ in range(count):
        widths = [draw.randint(1, 17) for _ in range(draw.randint(2, 4))]
        yield widths, draw.choice(["float32", "float64"]), draw.choice([1, 7, 21, 33, 100])


def built(folder: str, widths: list[int], dtype: str, rows: int) -> Run:
    """Return a run of shared products that has probed the arithmetic."""
    path, count = Path(folder, f"{widths[0]}-{widths[-1]}-{rows}.h5"), 2 * rows + rows // 2
    if not path.exists():
        x, y = np.ones((count, widths[0]), "f4"), np.ones((count, widths[-1]))
        write_data_file(path, {"train": (x, y)})
    settings = Settings.model_validate({
        "data": {"path": str(path), "validation_fraction": 0.0, "normalize": "none"},
        "model": {"layers": [{"units": units} for units in widths[1:]], "dtype": dtype,
                  "loss": "squared"},
        "training": {"batch_size": rows},
        "reproducibility": {"mode": "exact", "arithmetic": "shared"},
    })  # fmt: skip
    return build_run(settings, Alone())


def divisions(run: Run, sizes: list[int]) -> Iterator[tuple[list[slice], list[int]]]:
    """Yield the rows of each rank, of each number of ranks and batch, and its tiles in a call."""
    plan = run.arithmetic.plan
    for size in RANKS:
        ranks = [Leaves(rank, size, 8, plan.alone, plan.grid) for rank in range(size)]
        tiles = [tiles_at_once(run, sizes, division, plan) for division in ranks]
        for rows in sizes:
            parts = [slice(*part) for part in pairwise(ranks[0].edges(rows))]
            yield parts, tiles


def rows_differ(run: Run, parts: list[slice], tiles: list[int], a: np.ndarray, b: np.ndarray
                ) -> bool:  # fmt: skip
    """Return whether the rows of all ranks differ from those that a tile after the other gives."""
    tile, shape = run.arithmetic.plan.tile, (len(a), b.shape[1])
    whole, found = np.empty(shape, a.dtype), np.empty(shape, a.dtype)
    times(np.dot, a, b, whole, tile)
    for part, at_once in zip(parts, tiles, strict=True):
        times(np.dot, a[part], b, found[part], tile, at_once)
    return not np.array_equal(whole, found)


def gradients_differ(run: Run, product: Product, d: np.ndarray, a: np.ndarray) -> bool:
    """Return whether a gradient differs that ranks divide."""
    layout = run.network.layout
    products = products_of(layout, run.arithmetic.plan.grids)
    whole, found = np.zeros(layout.length, a.dtype), np.zeros(layout.length, a.dtype)
    multiply(product, d, a, whole, 0, product.units)
    for size in RANKS:
        for part in pairwise(edges(products, layout.length, size)):
            multiply(product, d, a, found, *product.rows(*part))
        if not np.array_equal(whole, found):
            return True
    return False


def differences(run: Run, rows: int, draw: np.random.Generator) -> set[str]:
    """Return which kinds of products differ."""
    found, plan, dtype = set(), run.arithmetic.plan, run.network.dtype
    sizes = batch_sizes(2 * rows + rows // 2, rows)
    alone = tiles_at_once(run, sizes, Leaves(0, 1, 8, plan.alone, plan.grid), plan)
    ways = [] if plan.alone else list(divisions(run, sizes))
    ways += [] if plan.alone else [([slice(0, n)], [alone]) for n in sizes]
    for _ in range(FRESH):
        for p in products_of(run.network.layout):
            for n in sizes:
                shapes = (n, p.inputs), (p.units, p.inputs), (n, p.units)
                x, w, dy = (draw.standard_normal(shape).astype(dtype) for shape in shapes)
                if gradients_differ(run, p, dy, x):
                    found.add("gradients")
                for parts, tiles in ways:
                    if parts[-1].stop == n and (
                        rows_differ(run, parts, tiles, x, w.T)
                        or rows_differ(run, parts, tiles, dy, w)
                    ):
                        found.add("rows")
    return found


def main(count: int, seed: int) -> None:
    """Print the networks that differ; then how many rows were divided, and how many in tiles."""
    draw, plans = np.random.default_rng(seed), []
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, "blas"):
        for widths, dtype, rows in networks(count, seed):
            run = built(folder, widths, dtype, rows)
            plans.append(run.arithmetic.plan)
            for kind in sorted(differences(run, rows, draw)):
                print("OTHER BITS:", kind, widths, dtype, rows, plans[-1])
            run.close()
    print(f"{sum(not p.alone for p in plans)} divided, {sum(p.tiled for p in plans)} tiled, "
          f"{sum(any(p.grids) for p in plans)} gradients divided")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
