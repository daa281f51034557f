"""The hot elementwise work on the processor, each in one pass over memory, compiled by numba.

`cpu_kernels` has the same functions in the same order, and gives the same bits: the operations and
their order are the same, and numba does not contract or reorder them without `fastmath`. Compiled
code is cached beside this file or in numba's cache folder, so only the first run ever waits for it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from disttrain.arrays import cpu_kernels

__all__ = ["activate", "activation_gradient", "gather", "update"]

Array = np.ndarray

# No bounds checks, no error state: the loops below are plain enough for the vectorizer.
_compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def _bias_relu(z: Any, bias: Any) -> None:
    rows, units = z.shape
    zero = z.dtype.type(0)
    for r in range(rows):
        for u in range(units):
            a = z[r, u] + bias[u]
            # not a <= 0 instead of a > 0: a NaN must stay visible
            z[r, u] = zero if a <= zero else a


@_compiled
def _relu_gradient(dy: Any, y: Any, dbias: Any) -> None:
    rows, units = dy.shape
    zero = dy.dtype.type(0)
    dbias[:] = zero
    for r in range(rows):
        for u in range(units):
            # A product, as in numpy: infinity times 0 must show as NaN.
            d = dy[r, u] * (y.dtype.type(1) if y[r, u] > zero else zero)
            dy[r, u] = d
            dbias[u] += d


@_compiled
def _gather(stored: Any, places: Any, scale: Any, shift: Any, out: Any) -> None:
    rows, inputs = out.shape
    for r in range(rows):
        p = places[r]
        for c in range(inputs):
            out[r, c] = out.dtype.type(stored[p, c]) * scale[c] + shift[c]


@_compiled
def _classical(w: Any, v: Any, g: Any, inverse: Any, rate: Any, momentum: Any, decay: Any) -> None:
    for i in range(len(w)):
        s = g[i] * inverse + w[i] * decay
        s = v[i] * momentum + s
        v[i] = s
        w[i] = w[i] - s * rate


@_compiled
def _averaged(w: Any, v: Any, g: Any, inverse: Any, rate: Any, momentum: Any, decay: Any) -> None:
    for i in range(len(w)):
        s = (g[i] * inverse + w[i] * decay) * rate
        s = v[i] * momentum + s
        v[i] = s
        w[i] = w[i] + s


@_compiled
def _nesterov(w: Any, v: Any, g: Any, inverse: Any, rate: Any, momentum: Any, decay: Any) -> None:
    for i in range(len(w)):
        s = g[i] * inverse + w[i] * decay
        t = v[i] * momentum + s
        v[i] = t
        w[i] = w[i] - (s + t * momentum) * rate


_UPDATES = {"classical": _classical, "averaged": _averaged, "nesterov": _nesterov}


def activate(z: Array, bias: Array, activation: str) -> None:
    """Replace `z` (rows, units) by `f(z + bias)`."""
    if activation == "relu":
        _bias_relu(z, bias)
    else:
        cpu_kernels.activate(z, bias, activation)


def activation_gradient(dy: Array, y: Array, activation: str, dbias: Array, scratch: Array) -> None:
    """Replace `dy` by `dy f'(a)`, where `y = f(a)`, and write its sum over rows to `dbias`."""
    if activation == "relu":
        _relu_gradient(dy, y, dbias)
    else:
        cpu_kernels.activation_gradient(dy, y, activation, dbias, scratch)


def gather(
    stored: Array, places: Array, scale: Array, shift: Array, raw: Array, out: Array
) -> None:
    """Write `stored[places] * scale + shift` to `out`; `raw` is scratch for the rows as stored."""
    _gather(stored, places, scale, shift, out)


def update(
    form: str, w: Array, v: Array, g: Array, inverse: float, rate: float, momentum: float,
    decay: float,
) -> None:  # fmt: skip
    """Apply one update to flat `w` and `v`; the formulas stand at `cpu_kernels.update`."""
    number = w.dtype.type
    if form == "averaged":
        rate = -rate * (1 - momentum)
    _UPDATES[form](w, v, g, number(inverse), number(rate), number(momentum), number(decay))
