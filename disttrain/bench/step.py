"""Where the time of one training step goes: products, the rest of the computation, the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.bench.turns import in_turns
from disttrain.comm import Communicator
from disttrain.comm.alone import Alone
from disttrain.config import Settings, from_keywords
from disttrain.data.writer import write_data_file
from disttrain.errors import UsageError
from disttrain.model.products import multipliable, products_of
from disttrain.training import Run, build_run
from disttrain.training.reducers import ProductReducer
from disttrain.training.trainer import train_step

__all__ = ["StepTimes", "compute_times", "example", "measure", "products"]

ROUNDS, TURN = 15, 0.04
QUICK = 4, 0.004
# The example: a network of the size of the main job, on rows of as many pixels.
LAYERS = [{"units": 800, "activation": "relu"}, {"units": 10}]
ROWS, PIXELS, BATCH = 16384, 784, 128


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step of `rows` samples over all ranks.

    `floor` is the matrix products of this rank's share alone, None where a layer is none of the
    dense ones; `compute` a whole step on this share without other ranks; `step` the real step.
    `message` are the bytes of the gradients, `shared` those of a sample's inputs and gradients of
    outputs, where these are shared too.
    """

    ranks: int
    hosts: int
    rows: int
    way: str
    message: int
    shared: int
    floor: float | None
    compute: float
    step: float

    @property
    def waiting(self) -> float:
        """Seconds that the other ranks cost: the sum, and waiting for the slowest."""
        return max(self.step - self.compute, 0.0)


def example(folder: Path) -> Settings:
    """Return settings of the network 784-800-10 on noise, written to `folder`: the same on all."""
    draw = np.random.default_rng(0)
    path = folder / "noise.h5"
    rows = draw.integers(0, 256, (ROWS, PIXELS), np.uint8)
    write_data_file(path, {"train": (rows, draw.integers(0, 10, ROWS))})
    return from_keywords(None, {
        "path": str(path), "layers": LAYERS, "batch_size": BATCH, "validation_fraction": 0.0,
    })  # fmt: skip


def measure(settings: Settings, comm: Communicator, quick: bool = False) -> StepTimes:
    """Return where a step's time goes for the ranks of `comm`. Collective."""
    run = ready(settings, comm)
    rows = run.work.batches.batch_size
    share = max(1, rows // comm.size)
    alone = ready(of_rows(settings, share), Alone())
    ways = {"step": loop(run), "compute": loop(alone)}
    if floor := products_of_share(alone, share):
        ways["floor"] = floor
    each = in_turns(comm, ways, *(QUICK if quick else (ROUNDS, TURN)))
    itemsize, layout = run.work.reducer.totals.itemsize, run.network.layout
    shares = isinstance(run.work.reducer, ProductReducer)
    times = StepTimes(
        comm.size, len(comm.hosts), rows, run.work.reducer.way, layout.length * itemsize,
        shares * itemsize * sum(p.inputs + p.units for p in products_of(layout)),
        each.get("floor"), each["compute"], each["step"],
    )  # fmt: skip
    run.close()
    alone.close()
    return times


def compute_times(settings: Settings, rows: Sequence[int], quick: bool = False) -> dict[int, float]:
    """Return the seconds of a step on one rank for each number of rows of a batch."""
    comm = Alone()
    ways, runs = {}, []
    for count in rows:
        runs.append(ready(of_rows(settings, count), comm))
        ways[str(count)] = loop(runs[-1])
    seconds = in_turns(comm, ways, *(QUICK if quick else (ROUNDS, TURN)))
    for run in runs:
        run.close()
    return {count: seconds[str(count)] for count in rows}


def ready(settings: Settings, comm: Communicator) -> Run:
    """Return a run that is ready for its first step. Collective."""
    run = build_run(settings, comm)
    run.restore(None)
    return run


def of_rows(settings: Settings, rows: int) -> Settings:
    """Return the settings with batches of `rows` samples."""
    if settings.training.protocol != "mini-batch":
        raise UsageError(
            f'training.protocol = "{settings.training.protocol}" has no batch size to divide: '
            'bench measures "mini-batch"'
        )
    return settings.replace(training={"batch_size": rows})


def loop(run: Run) -> Callable[[], None]:
    """Return a function that does the next step of `run`, at rate 0: no weight changes."""
    done = 0

    def _next() -> None:
        nonlocal done
        train_step(run, done, 0.0)
        done += 1

    return _next


def products_of_share(run: Run, rows: int) -> Callable[[], None] | None:
    """Return a function that does the matrix products of a step of `rows` samples, nothing else.

    The same shapes and memory layouts as the step's, in arrays that are there before. None where
    not every layer's gradient is such a product.
    """
    if not multipliable(run.network.layout):
        return None
    pairs = [(p.units, p.inputs) for p in reversed(products_of(run.network.layout))]
    if any(units != inputs for (units, _), (_, inputs) in pairwise(pairs)):
        return None
    return products([pairs[0][1], *(n for n, _ in pairs)], rows, run.settings.model.dtype)


def products(widths: Sequence[int], rows: int, kind: str) -> Callable[[], None]:
    """Return a function that does the matrix products of a step through layers of `widths`.

    Each product is on what the one before it wrote; every array is there before.
    """
    dtype, draw = np.dtype(kind), np.random.default_rng(1).standard_normal
    pairs = [(n, m) for m, n in pairwise(widths)]

    def _noise(*shape: int) -> np.ndarray[Any, Any]:
        return draw(shape).astype(dtype)

    hidden, deltas = ([_noise(rows, n) for n in widths] for _ in range(2))
    weights = [_noise(n, m) / dtype.type(m**0.5) for n, m in pairs]
    gradients = [_noise(n, m) for n, m in pairs]

    def _products() -> None:
        for n, weight in enumerate(weights):
            np.dot(hidden[n], weight.T, out=hidden[n + 1])
        for n in reversed(range(len(weights))):
            np.dot(deltas[n + 1].T, hidden[n], out=gradients[n])
            if n:
                np.dot(deltas[n + 1], weights[n], out=deltas[n])

    return _products
