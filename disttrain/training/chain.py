"""The chain of digests: what a run held at each interval, for replay and comparison.

A record has the `step`, a checksum of the `order` of samples since the record before, those of each
tensor's weights and velocity, and `chain`: SHA-256 over the record before it and itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from disttrain.arrays import checksum
from disttrain.data import Batches
from disttrain.model import Network
from disttrain.training.audit import tensor_sums
from disttrain.training.optimizer import Optimizer

__all__ = ["broken_at", "record"]


def record(
    network: Network, optimizer: Optimizer, batches: Batches, step: int,
    before: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the record of the state after `step` steps that follows the record `before`."""
    first = before["step"] if before else step
    order = sum(checksum(batches.order_of(epoch, low, high))
                for epoch, low, high in batches.places(first, step))  # fmt: skip
    sums = tensor_sums(network, optimizer)
    facts = {
        "step": step,
        "order": f"{order % (1 << 64):016x}",
        "tensors": {name: [f"{part:016x}" for part in parts] for name, parts in sums.items()},
    }
    return facts | {"chain": link(facts, before["chain"] if before else "")}


def link(facts: dict[str, Any], before: str) -> str:
    """Return the digest of a record that follows one with the chain `before`."""
    text = json.dumps({k: v for k, v in facts.items() if k != "chain"}, sort_keys=True)
    return hashlib.sha256((before + text).encode()).hexdigest()


def broken_at(records: Sequence[dict[str, Any]]) -> int | None:
    """Return the number of the first record that does not follow from those before it, or None."""
    chain = ""
    for number, facts in enumerate(records):
        if facts.get("chain") != link(facts, chain):
            return number
        chain = facts["chain"]
    return None
