"""Central differences: the outside truth that gradients are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1e-5


def central_differences(f: Callable[[], float], vector: np.ndarray) -> np.ndarray:
    """Return the gradient of `f()` by `vector`, which `f` reads and which is left as it was."""
    flat = vector.reshape(-1)
    gradient = np.empty(flat.shape)
    for n in range(len(flat)):
        kept = flat[n]
        flat[n] = kept + STEP
        above = f()
        flat[n] = kept - STEP
        below = f()
        flat[n] = kept
        gradient[n] = (above - below) / (2 * STEP)
    return gradient.reshape(vector.shape)


def assert_close(found: np.ndarray, numeric: np.ndarray) -> None:
    """Assert that two gradients differ by less than 1e-6 of the largest part of them."""
    scale = max(float(np.abs(numeric).max(initial=0)), 1e-3)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-6 * scale)
