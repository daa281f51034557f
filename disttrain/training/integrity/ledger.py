"""The proof that an epoch used each training sample exactly once, on any number of ranks."""

from __future__ import annotations

import numpy as np

from disttrain.checkpoint.state import State
from disttrain.comm import Communicator
from disttrain.data import Batches
from disttrain.errors import Corruption

__all__ = ["Ledger"]

MODULUS = 1 << 64
# Sample numbers that are kept before they are added to the sum.
MOST = 1 << 20


class Ledger:
    """Adds up the samples that a rank used, in a sum that depends on no order and no rank.

    The sum of `mix(sample)` modulo 2⁶⁴, and the number of samples, are added over ranks into
    `state.used` and `state.used_count`, and kept in checkpoints. At an epoch's end they must be
    those of all samples: one that was left out, used twice or replaced by another changes the sum
    (two such errors cancel out with probability 2⁻⁶⁴).
    """

    def __init__(self, comm: Communicator, batches: Batches) -> None:
        self._comm, self._batches = comm, batches
        self._step: list[np.ndarray] = []
        self._waiting: list[np.ndarray] = []
        self._sum, self._count, self._wanted = 0, 0, -1

    def begin_step(self) -> None:
        """Forget a step that was not completed."""
        self._step = []

    def use(self, samples: np.ndarray) -> None:
        """Note the samples of one part of a step."""
        self._step.append(samples)

    def end_step(self) -> None:
        """Count the samples of a step whose update is done."""
        self._waiting += self._step
        self._count += sum(map(len, self._step))
        if self._count > MOST:
            self._fold()

    def _fold(self) -> None:
        if self._waiting:
            self._sum = (self._sum + mixed(np.concatenate(self._waiting))) % MODULUS
        self._waiting = []

    def settle(self, state: State) -> None:
        """Add the sums of all ranks to `state`. Collective."""
        self._fold()
        for part, count in self._comm.collect((self._sum, self._count)):
            state.used = (state.used + part) % MODULUS
            state.used_count += count
        self.forget()

    def up_to(self, step: int) -> tuple[int, int]:
        """Return the sum and the number that are right after `step` steps."""
        begin = step - step % self._batches.steps_per_epoch
        total = count = 0
        for place in self._batches.places(begin, step):
            samples = self._batches.order_of(*place)
            total, count = (total + mixed(samples)) % MODULUS, count + len(samples)
        return total, count

    def forget(self) -> None:
        """Drop what was noted since the last `settle`."""
        self._step, self._waiting, self._sum, self._count = [], [], 0, 0

    def close_epoch(self, state: State) -> None:
        """Raise Corruption, on all ranks, unless the epoch used each sample once. Collective."""
        self.settle(state)
        rows = self._batches.samples_per_epoch
        if self._wanted < 0:
            blocks = range(0, rows, MOST)
            self._wanted = sum(mixed(np.arange(b, min(b + MOST, rows))) for b in blocks) % MODULUS
        # Rank 0 decides for all: a bit may have flipped in the sum of one rank alone.
        if self._comm.share((state.used, state.used_count) != (self._wanted, rows)):
            epoch = state.step // self._batches.steps_per_epoch
            found = "as many" if state.used_count == rows else f"{state.used_count:,}"
            raise Corruption(
                f"epoch {epoch} (up to step {state.step}) did not use each of its {rows:,} samples "
                f"once: {found} were used; its steps are not saved as a whole epoch: resume from a "
                "checkpoint before it, and report this"
            )
        state.used = state.used_count = 0


def mixed(samples: np.ndarray) -> int:
    """Return the sum of `mix(sample)` modulo 2⁶⁴.

    `mix` is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, 2014): one bit of the number changes about half of the bits of the result.
    """
    x = (samples.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((x ^ (x >> np.uint64(31))).sum(dtype=np.uint64))
