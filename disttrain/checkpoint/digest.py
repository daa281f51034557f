"""The digest of a training state: what two runs must share to be called equal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

__all__ = ["digest"]

Tensors = Mapping[str, np.ndarray]


def digest(parameters: Tensors, slots: Mapping[str, Tensors], step: int) -> str:
    """Return SHA-256, in hexadecimal, over parameters, the optimizer's slots and the step.

    Each tensor counts by its bytes (row by row, little-endian, in its own dtype), in layer order,
    slots by name; the step follows as a 64-bit little-endian integer.
    """
    sha = hashlib.sha256()
    for group in (parameters, *(slots[name] for name in sorted(slots))):
        for tensor in group.values():
            little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
            sha.update(little.reshape(-1).view(np.uint8).data)
    sha.update(int(step).to_bytes(8, "little"))
    return sha.hexdigest()
