"""The hot elementwise work on a GPU, by the kernels in `cuda/`; formulas stand at the processor's.

`cpu_kernels` has the same functions; `gather` is the host's.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from disttrain.arrays.gpu_launch import Launch, launch, launch_blocks, run

__all__ = ["activate", "activation_gradient", "adam", "average", "momentum", "square_sums"]

Array = Any
# In the order of the numbers in cuda/layers.cu and cuda/update.cu.
ACTIVATIONS = (
    "identity", "sign", "relu", "tanh", "sigmoid", "leaky-relu", "elu", "silu", "gelu",
)  # fmt: skip
FORMS = ("classical", "averaged", "nesterov")
# Rows that one thread adds, at least; threads that add squares.
PART, SQUARES = 32, 4096
# Threads of a block that adds up what others have summed, as in cuda/losses.cu.
COUNT = 256
_scratch: dict[tuple[str, int, str], Array] = {}


def room(name: str, length: int, dtype: Any) -> Array:
    """Return scratch memory of `length` numbers: kernels on one stream take turns with it."""
    key = name, length, np.dtype(dtype).char
    if key not in _scratch:
        _scratch[key] = cupy.empty(length, dtype)
    return _scratch[key]


def activate(z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
    """Replace `z` (rows, units) by `f(z + bias)`."""
    activating(z, bias, activation, slope)()


def activating(z: Array, bias: Array, activation: str, slope: Array | None) -> Launch:
    """Return the launch of `activate`."""
    kind, units = ACTIVATIONS.index(activation), z.shape[-1]
    return launch("activate", z.dtype, z.size, units, kind, bias, z, slope)


def activation_gradient(dy: Array, y: Array, activation: str, dbias: Array, scratch: Array) -> None:
    """Replace `dy` by `dy f'(a)`, where `y = f(a)`, and write its sum over rows to `dbias`."""
    if dy.flags.c_contiguous:
        run(deriving(dy, y, activation, dbias))
    else:  # of a layer of somebody's own
        whole = dy.copy()
        run(deriving(whole, y, activation, dbias))
        dy[...] = whole


def deriving(dy: Array, y: Array, activation: str, dbias: Array) -> list[Launch]:
    """Return the launches of `activation_gradient`: sums of some rows each, then their sum."""
    rows, units = dy.shape
    part = max(PART, math.isqrt(rows))
    parts = max(1, -(-rows // part))
    sums = dbias if parts == 1 else room("rows", parts * units, dy.dtype)
    kind = ACTIVATIONS.index(activation)
    made = [launch("activation_gradient", dy.dtype, parts * units, rows, units, part, kind, y, dy,
                   sums)]  # fmt: skip
    if parts > 1:
        made.append(launch("add_parts", dy.dtype, units, parts, sums, dbias))
    return made


def momentum(
    form: str, w: Array, v: Array, g: Array, inverse: float, rate: float, beta: float,
    decay: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w` and `v`.

    Returns 0: the sum of bits would need one more pass over memory.
    """
    numbers = tuple(map(float, (inverse, rate, beta, decay)))
    launch("momentum", w.dtype, w.size, FORMS.index(form), w, v, g, *numbers, w.size, 1.0, None,
           None, 0)()  # fmt: skip
    return 0


def adam(
    w: Array, m: Array, v: Array, g: Array, inverse: float, decay: float, keep: float,
    beta1: float, beta2: float, rate: float, root: float, epsilon: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w`, `m` and `v`. Returns 0, as `momentum` does."""
    numbers = map(float, (inverse, decay, keep, beta1, beta2, rate, root, epsilon))
    launch("adam", w.dtype, w.size, w, m, v, g, *numbers, 0.0, w.size, 1.0, None, None, 0)()
    return 0


def average(a: Array, w: Array, part: float) -> None:
    """Move flat `a` towards `w`: `a = a + (w - a) part`."""
    launch("average", w.dtype, w.size, w, float(part), a)()


def square_sums(x: Array) -> Array:
    """Return the sum of the squares of flat `x`, as an array of one float64."""
    sum_ = cupy.empty(1, "f8")
    run(squaring(x, sum_))
    return sum_


def adding_up(x: Array, out: Array) -> Launch:
    """Return the launch for `out` (one number) = the sum of flat `x`; both are float64."""
    # Of the kernels for float, which most runs need anyway: it is the same in both.
    return launch_blocks("add_up", "f4", (1,), (COUNT,), x.size, x, out)


def squaring(x: Array, out: Array) -> list[Launch]:
    """Return the launches of `square_sums`: of every `SQUARES`-th number, then of these sums."""
    sums = room("squares", SQUARES, "f8")
    return [
        launch("square_sums", x.dtype, SQUARES, x.size, x, sums),
        adding_up(sums, out),
    ]
