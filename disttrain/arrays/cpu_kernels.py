"""The hot elementwise work on the processor: everything in place, in parts that stay in cache.

`compiled_kernels` has the same functions with the same bits, in one pass each; `gpu_kernels` those
that a GPU runs.
"""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = [
    "LEAK",
    "SLOPED",
    "activate",
    "activation_gradient",
    "adam",
    "average",
    "gather",
    "momentum",
    "square_sums",
]

Array = np.ndarray
# Elements of a flat vector that are updated before the next part is touched: five such parts
# (weights, velocity, gradient, two scratch) fit in a core's second-level cache.
CHUNK = 1 << 15
# Independent partial sums when squares are added, so that a kernel can use wide vectors.
LANES = 64
# Activations whose derivative is kept from the forward pass.
SLOPED = ("gelu", "silu")
# The slope of leaky-relu below 0; the numbers in gelu, as Python's: they leave the dtype as it is.
LEAK, ROOT, CUBE = 0.01, math.sqrt(2 / math.pi), 0.044715


@functools.cache
def _scratch(dtype: np.dtype) -> tuple[Array, Array]:
    return np.empty(CHUNK, dtype), np.empty(CHUNK, dtype)


def activate(z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
    """Replace `z` (rows, units) by `f(a)`, `a = z + bias`.

    With `K = tanh(√(2/π) (a + 0.044715 a³))`: gelu `a (1 + K) / 2` (Hendrycks and Gimpel, 2016),
    silu `a s`, s the sigmoid; elu `a` or, below 0, `e^a - 1`; leaky-relu `a` or `0.01 a`. Of gelu
    and silu `f'(a)` is written to `slope`, where there is one: it can't be found from `f(a)`.
    """
    np.add(z, bias, out=z)
    if activation in SLOPED:
        _activate_sloped(z, activation, slope)
        return
    if activation == "relu":
        np.maximum(z, 0, out=z)
    elif activation == "sign":
        np.sign(z, out=z)
    elif activation == "tanh":
        np.tanh(z, out=z)
    elif activation == "sigmoid":
        # 1/(1+exp(-z)) = (1 + tanh(z/2))/2, which does not overflow
        np.multiply(z, 0.5, out=z)
        np.tanh(z, out=z)
        np.multiply(z, 0.5, out=z)
        np.add(z, 0.5, out=z)
    elif activation == "leaky-relu":
        np.multiply(z, np.where(z > 0, 1, LEAK).astype(z.dtype), out=z)
    elif activation == "elu":
        np.copyto(z, np.expm1(np.minimum(z, 0)), where=z <= 0)


def _activate_sloped(a: Array, activation: str, slope: Array | None) -> None:
    """Replace `a` by gelu or silu of it, and write the derivative to `slope`."""
    if activation == "silu":
        part = 0.5 * np.tanh(0.5 * a) + 0.5
        if slope is not None:
            np.multiply(part, 1 + a * (1 - part), out=slope)
    else:
        tanh = np.tanh(ROOT * (a + CUBE * a * a * a))
        part = 0.5 * (1 + tanh)
        if slope is not None:
            inner = ROOT * (1 + 3 * CUBE * a * a)
            np.add(part, 0.5 * a * (1 - tanh * tanh) * inner, out=slope)
    np.multiply(a, part, out=a)


def activation_gradient(dy: Array, y: Array, activation: str, dbias: Array, scratch: Array) -> None:
    """Replace `dy` by `dy f'(a)`, where `y = f(a)`, and write its sum over rows to `dbias`.

    `f'` from `y`: relu `y > 0`, tanh `1 - y²`, sigmoid `y (1 - y)`, leaky-relu 1 or 0.01, elu 1 or
    `y + 1`; for gelu and silu `y` is `f'(a)`, the slope that `activate` wrote. `scratch` is as
    large as `y`.
    The derivative of sign is 0; what is passed on unchanged is the perceptron's rule.
    """
    if activation == "relu":
        np.greater(y, 0, out=scratch)
        np.multiply(dy, scratch, out=dy)
    elif activation == "tanh":
        np.multiply(y, y, out=scratch)
        np.subtract(1, scratch, out=scratch)
        np.multiply(dy, scratch, out=dy)
    elif activation == "sigmoid":
        np.subtract(1, y, out=scratch)
        np.multiply(scratch, y, out=scratch)
        np.multiply(dy, scratch, out=dy)
    elif activation == "leaky-relu":
        np.multiply(dy, np.where(y > 0, 1, LEAK).astype(y.dtype), out=dy)
    elif activation == "elu":
        np.minimum(y, 0, out=scratch)
        np.add(scratch, 1, out=scratch)
        np.multiply(dy, scratch, out=dy)
    elif activation in SLOPED:
        np.multiply(dy, y, out=dy)
    np.add.reduce(dy, axis=0, out=dbias)


def gather(
    stored: Array, places: Array, scale: Array, shift: Array, raw: Array, out: Array
) -> None:
    """Write `stored[places] * scale + shift` to `out`; `raw` is scratch for the rows as stored."""
    np.take(stored, places, axis=0, out=raw, mode="clip")
    np.multiply(raw, scale, out=out, casting="unsafe")
    np.add(out, shift, out=out)


def momentum(
    form: str, w: Array, v: Array, g: Array, inverse: float, rate: float, beta: float,
    decay: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w` and `v`; `g` holds the sum of gradients and is left as it is.

    `g' = inverse g + decay w`; classical `v = β v + g'`, `w = w - α v`; averaged
    `v = β v - α (1-β) g'`, `w = w + v`; nesterov `v = β v + g'`, `w = w - α (g' + β v)`.
    Returns the sum of the bits of `w` and `v` as they were before, modulo the numbers of that size:
    one bit that flips in memory changes it.
    """
    step, part = _scratch(w.dtype)
    whole = np.dtype(f"u{w.dtype.itemsize}")
    bits = 0
    for low in range(0, len(w), CHUNK):
        wc, vc = w[low : low + CHUNK], v[low : low + CHUNK]
        s, p = step[: len(wc)], part[: len(wc)]
        bits += int(np.add.reduce(wc.view(whole), dtype=whole))
        bits += int(np.add.reduce(vc.view(whole), dtype=whole))
        np.multiply(g[low : low + CHUNK], inverse, out=s)
        if decay:
            np.multiply(wc, decay, out=p)
            np.add(s, p, out=s)
        np.multiply(vc, beta, out=vc)
        if form == "averaged":
            np.multiply(s, -rate * (1 - beta), out=s)
            np.add(vc, s, out=vc)
            np.add(wc, vc, out=wc)
            continue
        np.add(vc, s, out=vc)
        if form == "nesterov":
            np.multiply(vc, beta, out=p)
            np.add(s, p, out=s)
            np.multiply(s, rate, out=s)
        else:
            np.multiply(vc, rate, out=s)
        np.subtract(wc, s, out=wc)
    return bits % (1 << 8 * whole.itemsize)


def adam(
    w: Array, m: Array, v: Array, g: Array, inverse: float, decay: float, keep: float,
    beta1: float, beta2: float, rate: float, root: float, epsilon: float,
) -> int:  # fmt: skip
    """Apply one update of Adam to flat `w`, `m` and `v`; `g` is left as it is.

    `g' = inverse g + decay w`; `m = β₁ m + (1-β₁) g'`; `v = β₂ v + (1-β₂) g'²`;
    `w = keep w - rate m / (root √v + ε)`. Returns the sum of the bits of `w`, `m` and `v` as they
    were before, like `momentum`.
    """
    step, part = _scratch(w.dtype)
    whole = np.dtype(f"u{w.dtype.itemsize}")
    bits = 0
    for low in range(0, len(w), CHUNK):
        wc, mc, vc = (vector[low : low + CHUNK] for vector in (w, m, v))
        s, p = step[: len(wc)], part[: len(wc)]
        bits += sum(int(np.add.reduce(vector.view(whole), dtype=whole)) for vector in (wc, mc, vc))
        np.multiply(g[low : low + CHUNK], inverse, out=s)
        np.multiply(wc, decay, out=p)
        np.add(s, p, out=s)
        np.multiply(s, 1 - beta1, out=p)
        np.multiply(mc, beta1, out=mc)
        np.add(mc, p, out=mc)
        np.multiply(s, s, out=s)
        np.multiply(s, 1 - beta2, out=s)
        np.multiply(vc, beta2, out=vc)
        np.add(vc, s, out=vc)
        np.sqrt(vc, out=s)
        np.multiply(s, root, out=s)
        np.add(s, epsilon, out=s)
        np.divide(mc, s, out=s)
        np.multiply(s, rate, out=s)
        np.multiply(wc, keep, out=wc)
        np.subtract(wc, s, out=wc)
    return bits % (1 << 8 * whole.itemsize)


def average(a: Array, w: Array, part: float) -> None:
    """Move flat `a` towards `w`: `a = a + (w - a) part`."""
    step, _ = _scratch(w.dtype)
    for low in range(0, len(w), CHUNK):
        wc, ac = w[low : low + CHUNK], a[low : low + CHUNK]
        s = step[: len(wc)]
        np.subtract(wc, ac, out=s)
        np.multiply(s, part, out=s)
        np.add(ac, s, out=ac)


def square_sums(x: Array) -> Array:
    """Return the sum of squares of each block of `CHUNK` elements of flat `x`, as float64.

    In a block, lane `l` adds the squares of elements `l`, `l + LANES`, ... in this order; then the
    second half of the lanes is added to the first half until one is left. So the bits of a sum
    depend on its block alone.
    """
    sums = np.zeros(-(-len(x) // CHUNK))
    for number, low in enumerate(range(0, len(x), CHUNK)):
        squares = np.zeros(CHUNK)
        part = x[low : low + CHUNK]
        np.square(part, out=squares[: len(part)], dtype=np.float64)
        lanes = np.add.reduce(squares.reshape(-1, LANES), axis=0)
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = lanes[:half] + lanes[half:]
        sums[number] = lanes[0]
    return sums
