"""The audit of replicas: every rank must hold the same weights and slots, bit for bit."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np

from disttrain.arrays import checksum
from disttrain.checkpoint.state import State
from disttrain.comm import Communicator
from disttrain.errors import Corruption
from disttrain.model import Network
from disttrain.training.optimizer import SPREAD, Optimizer

__all__ = ["Audit", "Sums", "tensor_sums"]

# How often an interval is done again before the run stops: a flipped bit is rare, a broken memory
# is not.
MOST = 3
Sums = dict[str, tuple[int, ...]]
"""Name of a tensor → checksums of it in each of the optimizer's vectors: weights, then slots."""


class Audit:
    """Compares replicas over ranks by a few numbers each, and names the rank and the layer.

    `mode` is "stop" (raise), "redo" (go back to the last audited state) or "off". Copying the state
    of the majority would be no cure: a wrong bit has reached all ranks with the next gradients.
    """

    def __init__(
        self, comm: Communicator, network: Network, optimizer: Optimizer, mode: str
    ) -> None:
        self._comm, self._network, self._optimizer, self._mode = comm, network, optimizer, mode
        self._kept: tuple[dict[str, Any], State, list[int]] | None = None
        self._since, self._again = 0, 0
        self._good: list[int] = []
        self._tensors: Sums = {}

    def begin(self, state: State) -> None:
        """Compare the state that the run begins with; there is none to go back to. Collective.

        It also compares what updates have read since the last audit: a failure may have ended them.
        """
        self._kept = None
        self.passes(state)

    def passes(self, state: State) -> bool:
        """Return True where all replicas are alike; False where `state` went back. Collective.

        Raises Corruption on all ranks where they differ and the mode is "stop".
        """
        if self._mode == "off" or self._comm.size == 1:
            return True
        self._comm.phase("comparing replicas")
        mine = self._sums()
        found = self._comm.collect([self._optimizer.checksum_read, *mine])
        self._optimizer.checksum_read = 0
        if all(one == found[0] for one in found):
            self._again, self._since, self._good = 0, state.step, mine
            return True
        what = self._difference(found, state.step)
        if self._mode == "stop" or self._kept is None or self._again == MOST:
            raise Corruption(f"{what}: nothing since then is saved; --resume goes on from there")
        self._again += 1
        self._go_back(state, what)
        return False

    def _sums(self) -> list[int]:
        """Return one checksum of all weights and one of each slot."""
        self._tensors = tensor_sums(self._network, self._optimizer)
        totals = [0] * len(self._optimizer.vectors)
        for sums in self._tensors.values():
            totals = [(t * SPREAD + s) % (1 << 64) for t, s in zip(totals, sums, strict=True)]
        return totals

    def known_at(self, step: int) -> Sums | None:
        """Return the checksums of each tensor, where the last audit was at `step`; else None."""
        return self._tensors if self._good and self._since == step else None

    def refuse_unaudited(self) -> None:
        """Raise Corruption where this rank no longer holds what passed the last audit."""
        if self._good and self._good != self._sums():
            raise Corruption(
                f"weights or optimizer state of rank {self._comm.rank} ({self._comm.host}) changed "
                f"after the audit of step {self._since}, without an update (a bit flipped in "
                "memory?): they are not saved; --resume goes on from the checkpoint before"
            )

    def keep(self, state: State) -> None:
        """Keep a state that has passed, where the mode is "redo"."""
        if self._mode == "redo" and self._comm.size > 1:
            vectors = {name: vector.copy() for name, vector in self._optimizer.vectors.items()}
            self._kept = (vectors, copy.deepcopy(state), self._good)

    def _go_back(self, state: State, what: str) -> None:
        """Restore the last audited state."""
        assert self._kept is not None
        vectors, kept, sums = self._kept
        for name, vector in self._optimizer.vectors.items():
            vector[:] = vectors[name]
        if not all(self._comm.collect(self._sums() == sums)):
            raise Corruption(f"{what}, and the copy kept from step {kept.step} differs too: resume")
        vars(state).update(vars(copy.deepcopy(kept)))
        state.faults.append(f"{what}: done again from step {kept.step}")
        self._kept = (vectors, copy.deepcopy(state), sums)

    def _difference(self, found: list[list[int]], step: int) -> str:
        """Return which ranks differ, and in which tensors. Collective."""
        majority = Counter(map(tuple, found)).most_common(1)[0]
        odd = [rank for rank, sums in enumerate(found) if tuple(sums) != majority[0]]
        tensors = self._comm.collect(tensor_sums(self._network, self._optimizer))
        hosts = self._comm.collect(self._comm.host)
        good = next(rank for rank in range(len(found)) if rank not in odd)
        names = sorted({
            f"{vector} of {name}"
            for rank in odd
            for name, sums in tensors[rank].items()
            for vector, mine, right in zip(self._optimizer.vectors, sums, tensors[good][name],
                                           strict=True)
            if mine != right
        })  # fmt: skip
        where = (
            ", ".join(names)
            or "tensors that can't be named any more, since rounding has removed the difference"
        )
        if 2 * majority[1] <= len(found):
            odd = list(range(len(found)))
            who = "ranks " + ", ".join(f"{r} ({hosts[r]})" for r in odd) + " differ"
        else:
            who = ", ".join(f"rank {r} ({hosts[r]})" for r in odd) + " differs from the others"
        return f"{who} in {where} between steps {self._since} and {step} (a bit flipped in memory?)"


def tensor_sums(network: Network, optimizer: Optimizer) -> Sums:
    """Return for each tensor its checksums in weights and slots, in layer order."""
    vectors = [network.tensors(vector) for vector in optimizer.vectors.values()]
    return {
        name: tuple(checksum(np.ascontiguousarray(vector[name])) for vector in vectors)
        for name in vectors[0]
    }
