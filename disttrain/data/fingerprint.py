"""What tells one data file from another, wherever it lies and however it is read."""

from __future__ import annotations

import hashlib

import numpy as np

from disttrain.data import record
from disttrain.data.file import DataFile, SplitFacts, reading

__all__ = ["fingerprint"]

# Of a file without a record so much is read of each split, in so many stretches.
BYTES, STRETCHES = 1 << 30, 1 << 10


def fingerprint(file: DataFile) -> str:
    """Return "record:" and the digest of the record behind a data file, or "rows:" and another one.

    The record covers every byte. Of a file without one the second is SHA-256 over names, counts and
    types, all targets, and all inputs; of inputs that take more than 1 GiB, 1,024 stretches of
    1 MiB. It depends on no setting. Raises DataError.
    """
    with reading(file.path):
        recorded = record.fingerprint(file.path)
        if recorded:
            return f"record:{recorded}"
        sha = hashlib.sha256(repr(file.class_names).encode())
        for name in sorted(file.splits):
            facts = file.splits[name]
            kind = f"{facts.inputs} {facts.dtype.str} {facts.outputs} {facts.target_dtype.str}"
            sha.update(f"{name} {facts.rows} {kind}".encode())
            sha.update(facts.stored_targets.all().tobytes())
            if facts.stored_weights is not None:
                sha.update(facts.stored_weights.all().tobytes())
            _add_inputs(sha, facts)
        if file.unlabelled is not None:
            sha.update(f"{file.unlabelled.name} {file.unlabelled.rows}".encode())
            _add_inputs(sha, file.unlabelled)
    return f"rows:{sha.hexdigest()}"


def _add_inputs(sha: hashlib._Hash, facts: SplitFacts) -> None:
    row = facts.inputs * facts.dtype.itemsize
    step = max(1, (BYTES // STRETCHES) // row)
    stretches = -(-facts.rows // step)
    for number in np.unique(np.linspace(0, stretches - 1, min(stretches, STRETCHES)).astype(int)):
        low = int(number) * step
        rows = facts.stored_inputs.rows(low, min(low + step, facts.rows))
        sha.update(rows.tobytes())
