"""The chain of digests: what a run held at each interval, for replay and comparison.

A record has the `step`, a checksum of the `order` of samples since the record before, those of each
tensor in each of the optimizer's vectors, and `chain`: SHA-256 over the record before it and
itself. The first record also names the `vectors` (weights, then slots) and what it is `about`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data import Batches
from disttrain.errors import CheckpointError, DamagedCheckpoint
from disttrain.model import Network
from disttrain.training.integrity.audit import Sums, tensor_sums
from disttrain.training.optimizer import Optimizer
from disttrain.written import is_count, records_of, why

__all__ = ["broken_at", "read", "record", "sums_of"]

SUM = re.compile("[0-9a-f]{16}")
SPREAD = 0x9E3779B97F4A7C15


def record(
    network: Network, optimizer: Optimizer, batches: Batches, step: int,
    before: dict[str, Any] | None, about: dict[str, Any], known: Sums | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the record of the state after `step` steps that follows the record `before`.

    `about` is what only the first record says: the data, and what computes; `known` are the
    checksums of this state, where an audit has computed them.
    """
    first = before["step"] if before else step
    order = sum(order_sum(batches, *place) for place in batches.places(first, step))
    sums = sums_of(known or tensor_sums(network, optimizer))
    facts = {
        "step": step,
        "order": f"{order % (1 << 64):016x}",
        "tensors": sums,
    }
    if before is None:
        facts |= {"about": about, "vectors": list(optimizer.vectors)}
    return facts | {"chain": link(facts, before["chain"] if before else "")}


def order_sum(batches: Batches, epoch: int, low: int, high: int) -> int:
    """Return a checksum of the samples in places `low..high-1` of an epoch, in their order.

    The checksums of two successive ranges add up to that of both together, so that runs with
    different intervals can be compared.
    """
    begin = epoch * batches.samples_per_epoch
    places = np.arange(2 * (begin + low) + 1, 2 * (begin + high) + 1, 2, dtype=np.uint64)
    samples = batches.order_of(epoch, low, high).astype(np.uint64) + np.uint64(1)
    return int(np.dot(samples * np.uint64(SPREAD), places))


def sums_of(sums: Sums) -> dict[str, list[str]]:
    """Return checksums as a record holds them."""
    return {name: [f"{part:016x}" for part in parts] for name, parts in sums.items()}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records in a run's `digests.jsonl`, of which there is at least one.

    Raises DamagedCheckpoint where there is none, where a line is not a record, or where the `chain`
    of one is not that of the lines before it; CheckpointError for a file that can't be read.
    """
    try:
        records = list(records_of(path, check))
    except (OSError, ValueError) as error:
        # `opened` says EINVAL of what is no file.
        if getattr(error, "errno", errno.EINVAL) not in (errno.ENOENT, errno.EINVAL):
            raise CheckpointError(
                f"{path} can't be read ({why(error)}): it may be undamaged; remove the cause "
                "and try "
                "again"
            ) from None
        raise DamagedCheckpoint(
            f"{path} can't be read ({why(error)}): --resume writes it anew where the run is not "
            "finished"
        ) from None
    if not records:
        raise DamagedCheckpoint(f"{path} is empty: the run has no digests")
    broken = broken_at(records)
    if broken is not None:
        raise DamagedCheckpoint(
            f"{path}, line {broken + 1} does not follow from the lines before it: it was changed, "
            "so it proves nothing"
        )
    return records


def check(facts: dict[str, Any]) -> None:
    """Raise ValueError for what is no record."""
    tensors, about = facts.get("tensors"), facts.get("about", {})
    good = (
        is_count(facts.get("step"))
        and SUM.fullmatch(str(facts.get("order")))
        and isinstance(facts.get("chain"), str)
        and isinstance(about, dict)
        and all(isinstance(value, str) for value in about.values())
        and isinstance(tensors, dict)
        and all(
            isinstance(sums, list) and all(SUM.fullmatch(str(one)) for one in sums)
            for sums in tensors.values()
        )
    )
    if not good:
        raise ValueError("it is not a record of digests")


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
