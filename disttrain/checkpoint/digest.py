"""The digest of a training state: what two runs must share to be called equal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["digest"]


def digest(groups: Sequence[Mapping[str, np.ndarray]], step: int) -> str:
    """Return SHA-256, in hexadecimal, over groups of tensors and the step.

    Each tensor counts by its bytes (row by row, little-endian, in its own dtype), in the order of
    its group; the step follows as a 64-bit little-endian integer.
    """
    sha = hashlib.sha256()
    for group in groups:
        for tensor in group.values():
            little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
            sha.update(little.tobytes())
    sha.update(int(step).to_bytes(8, "little"))
    return sha.hexdigest()
