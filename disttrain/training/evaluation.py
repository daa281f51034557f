"""Loss and accuracy of a whole split, and predictions: the same numbers on any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from disttrain.arrays import Array
from disttrain.comm import Communicator
from disttrain.data import Feed, Split
from disttrain.model import Context, Loss, Network
from disttrain.training.weighing import counts_of, divisor, weighed

__all__ = ["BLOCK_ROWS", "Score", "correct", "errors", "evaluate", "judged", "outputs_of"]

# A split is evaluated in blocks of this many rows, whatever the ranks: each block's sums are the
# same wherever they are computed, and they are added in block order.
BLOCK_ROWS = 1024
# Blocks that each rank computes between two exchanges: ranks that wait see that there is progress.
CHUNK_BLOCKS = 64
# Predictions travel to rank 0 in messages of so many bytes, and all that arrive at once are at most
# so many: MPI counts bytes in 31 bits.
MESSAGE_BYTES, ARRIVING_BYTES = 16 << 20, 512 << 20


class _Score(NamedTuple):
    loss: float
    accuracy: float | None


class Score(_Score):
    """Mean loss over samples, and the fraction classified rightly (None without classes).

    `metrics` holds other numbers by name. Where targets are numbers: `r2` is
    `1 - Σ (f-y)² / Σ (y-ȳ)²`, the mean of that over outputs (none where an output does not vary),
    `mean_absolute_error` the mean of `|f-y|`, both as in scikit-learn.
    """

    metrics: Mapping[str, float] = MappingProxyType({})

    def __repr__(self) -> str:
        known = (f"{name}={value:.6g}" for name, value in self.facts().items() if value is not None)
        return f"Score({', '.join(known)})"

    def facts(self) -> dict[str, float | None]:
        """Return all of it by name."""
        return {"loss": self.loss, "accuracy": self.accuracy} | dict(self.metrics)


def correct(outputs: Array, targets: Array) -> Array | int:
    """Return how many rows of `outputs` are largest at their target class; 0 without classes.

    A single output stands for two classes: negative for 0, positive for 1.
    """
    if targets.dtype.kind not in "iu" or not len(targets):
        return 0
    if outputs.shape[1] == 1:
        return (outputs[:, 0] * (2 * targets - 1) > 0).sum()
    return (outputs.argmax(axis=1) == targets).sum()


def judged(
    network: Network, loss: Loss, context: Context, feed: Feed, split: Split, samples: np.ndarray
) -> tuple[Any, ...]:
    """Return the sum of losses of some samples and how many are right; of numbers also errors."""
    inputs, targets = feed(split, samples)
    outputs = network.predict(inputs)
    weights = None
    if split.weights is not None:
        weights = network.device.put(split.weights[samples])
    part, _ = weighed(*loss.forward(outputs, targets, context), weights)
    sums = float(network.device.total(part)), int(correct(outputs, targets))
    if targets.dtype.kind == "f" and targets.shape == outputs.shape:
        return *sums, *errors(network.device.get(outputs - targets))
    return sums


def evaluate(
    judge: Callable[[np.ndarray], tuple[Any, ...]],
    loss: Loss,
    feed: Feed,
    split: Split,
    comm: Communicator,
    phase: str,
    everyone: bool = True,
    unit: float = 1.0,
) -> Score:
    """Return the score on `split`, by all ranks in shares or by rank 0 alone.

    Collective either way, with the same bits. The loss is that of the training: weighed
    and smoothed like it; the accuracy counts each sample as 1. `judge` returns the sums of some
    samples, as `judged` does; `unit` multiplies the loss.
    """
    workers = comm.size if everyone else 1
    blocks = -(-split.count // BLOCK_ROWS)
    everything: dict[int, tuple[Any, ...]] = {}
    for chunk in range(0, blocks, CHUNK_BLOCKS * workers):
        sums: dict[int, tuple[Any, ...]] = {}
        # What overflows is found in the loss.
        with comm.together(phase), np.errstate(over="ignore", invalid="ignore"):
            last = min(chunk + CHUNK_BLOCKS * workers, blocks)
            for block in range(chunk + comm.rank, last, workers) if comm.rank < workers else ():
                comm.phase(phase)
                sums[block] = judge(samples_of(block, split))
        for part_sums in comm.collect(sums):
            everything.update(part_sums)
    return score_of([everything[b] for b in sorted(everything)], split, loss, feed, unit)


def score_of(
    found: list[tuple[Any, ...]], split: Split, loss: Loss, feed: Feed, unit: float
) -> Score:
    """Return the score that the sums of all blocks state, in their order."""
    total = math.fsum(sums[0] for sums in found)
    counts = counts_of(split, loss)
    mean = total * unit / (split.count if counts is None else divisor(counts))
    if split.targets.ndim == 1:
        return Score(mean, sum(sums[1] for sums in found) / split.count)
    score = Score(mean, None)
    if all(len(sums) > 2 for sums in found):
        score.metrics = fit_of(found, split.targets, feed)
    return score


def errors(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of squares and of absolute values, of each output."""
    difference = difference.astype(np.float64)
    return np.square(difference).sum(axis=0), np.abs(difference).sum(axis=0)


def fit_of(sums: list[tuple[Any, ...]], targets: np.ndarray, feed: Feed) -> dict[str, float]:
    """Return R² and the mean absolute error, from the sums of all blocks in their order."""
    unit = feed.scale.deviation if feed.scale else np.ones(targets.shape[1])
    squares = np.sum([part[2] for part in sums], axis=0) * np.square(unit)
    absolute = math.fsum(np.sum([part[3] for part in sums], axis=0) * unit)
    # A score that is not finite ends the run with a sentence; numpy need not warn too.
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
        r2 = {"r2": float(np.mean(1 - squares / spread))} if (spread > 0).all() else {}
    return r2 | {"mean_absolute_error": absolute / targets.size}


def samples_of(block: int, split: Split) -> np.ndarray:
    """Return the samples of one block of a split."""
    return np.arange(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, split.count))


def outputs_of(
    network: Network, feed: Feed, split: Split, comm: Communicator,
    finish: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray | None:  # fmt: skip
    """Return what `finish` makes of the network's outputs (float64) for all samples of `split`, on
    rank 0 and in the network's dtype; None elsewhere.

    Each rank takes blocks in turn; only rank 0 needs memory for more than a message.
    """
    each = network.outputs * np.dtype(network.dtype).itemsize
    most = max(1, min(MESSAGE_BYTES, ARRIVING_BYTES // comm.size) // each)
    found = np.empty((split.count, network.outputs), network.dtype) if comm.is_root else None
    blocks = -(-split.count // BLOCK_ROWS)
    chunk = min(CHUNK_BLOCKS, max(1, most // BLOCK_ROWS))
    predict: Callable[[Array], Array] | None = None
    for first in range(0, blocks, chunk * comm.size):
        mine: list[tuple[int, np.ndarray]] = []
        with comm.together("predicting"):
            # It copies weights, for which a rank may have no memory.
            predict = predict or network.closer()
            end = min(first + chunk * comm.size, blocks)
            for block in range(first + comm.rank, end, comm.size):
                comm.phase("predicting")
                samples = samples_of(block, split)
                inputs, _ = feed(split, samples)
                outputs = finish(np.array(network.device.get(predict(inputs)), np.float64))
                mine.append((int(samples[0]), outputs.astype(network.dtype)))
        for low in range(0, BLOCK_ROWS, most):
            slices = [(at + low, rows[low : low + most]) for at, rows in mine]
            for at, rows in (each for part in comm.gather(slices) for each in part):
                if found is not None:
                    found[at : at + len(rows)] = rows
    return found
