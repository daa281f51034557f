"""The order of samples: a block shuffle that is a function of (seed, epoch, block size) alone.

The rows are cut into blocks; the blocks are permuted; each pool of eight successive blocks is
permuted row by row. So rows that are used together lie in eight blocks of the file, which can be
streamed fast. The order is the same for streamed data and data in memory, on any number of ranks.
"""

from __future__ import annotations

import functools

import numpy as np

from disttrain.arrays import permutation

__all__ = ["BlockShuffle"]

POOL_BLOCKS = 8
# Rows of pools that are kept: the end of an epoch goes over its order again.
KEPT = 1 << 18


class BlockShuffle:
    """The order in which `rows` samples are used in each epoch; any part of it at any time."""

    def __init__(self, rows: int, seed: int, block_rows: int) -> None:
        self.rows, self._seed, self._block_rows = rows, seed, block_rows
        self._blocks = -(-rows // block_rows)
        self._pools = -(-self._blocks // POOL_BLOCKS)
        self._last: tuple[int, int, np.ndarray] = (-1, 0, np.empty(0, np.int64))
        self._epoch = functools.lru_cache(maxsize=2)(self._plan)
        pools = max(4, KEPT // (POOL_BLOCKS * block_rows))
        self._pool = functools.lru_cache(maxsize=pools)(self._shuffled)

    def samples(self, epoch: int, low: int, high: int) -> np.ndarray:
        """Return the samples (int64, of `0..rows-1`) in places `low..high-1` of `epoch`."""
        # Most steps lie in the pool of the step before.
        of, begin, members = self._last
        if of == epoch and begin <= low and high <= begin + len(members):
            return members[low - begin : high - begin]
        _, starts = self._epoch(epoch)
        first = int(np.searchsorted(starts, low, "right")) - 1
        parts = [np.empty(0, np.int64)]
        for pool in range(first, self._pools):
            start = int(starts[pool])
            if start >= high:
                break
            members = self._pool(epoch, pool)
            self._last = epoch, start, members
            parts.append(members[max(low - start, 0) : high - start])
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of blocks in `epoch` and the place at which each pool begins."""
        order = permutation(self._blocks, self._seed, "blocks", epoch)
        sizes = np.minimum(self._block_rows, self.rows - order * self._block_rows)
        starts = np.concatenate([[0], np.cumsum(sizes)[POOL_BLOCKS - 1 :: POOL_BLOCKS]])
        return order, starts[: self._pools]

    def _shuffled(self, epoch: int, pool: int) -> np.ndarray:
        """Return the samples of one pool in their order."""
        order, _ = self._epoch(epoch)
        members = [
            np.arange(b * self._block_rows, min((b + 1) * self._block_rows, self.rows))
            for b in order[pool * POOL_BLOCKS : (pool + 1) * POOL_BLOCKS]
        ]
        samples = np.concatenate(members)
        chosen: np.ndarray = samples[permutation(len(samples), self._seed, "pool", epoch, pool)]
        return chosen
