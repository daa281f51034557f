"""The hot elementwise work on a GPU: one kernel each.

`cpu_kernels` has the same functions; `gather` is the host's.
"""

from __future__ import annotations

from typing import Any

import cupy

from disttrain.arrays.cpu_kernels import SLOPED

__all__ = ["activate", "activation_gradient", "adam", "average", "momentum", "square_sums"]

Array = Any

VALUE = {
    "identity": "y = a",
    "sign": "y = (T)((a > 0) - (a < 0))",
    # !(a <= 0) instead of a > 0: a NaN must stay visible
    "relu": "y = !(a <= 0) ? a : (T)0",
    "tanh": "y = tanh(a)",
    "sigmoid": "y = (T)0.5 * tanh((T)0.5 * a) + (T)0.5",
    "leaky-relu": "y = a > 0 ? a : (T)0.01 * a",
    "elu": "y = a > 0 ? a : expm1(a)",
    "silu": "T p = (T)0.5 * tanh((T)0.5 * a) + (T)0.5; s = p * (1 + a * (1 - p)); y = a * p",
    "gelu": """
        const T root = (T)0.7978845608028654, cube = (T)0.044715;
        T t = tanh(root * (a + cube * a * a * a)), p = (T)0.5 * (1 + t);
        s = p + (T)0.5 * a * (1 - t * t) * root * (1 + 3 * cube * a * a);
        y = a * p
    """,
}
DERIVATIVE = {
    "identity": "d = g",
    "sign": "d = g",
    "relu": "d = y > 0 ? g : (T)0",
    "tanh": "d = g * ((T)1 - y * y)",
    "sigmoid": "d = g * ((T)1 - y) * y",
    "leaky-relu": "d = y > 0 ? g : (T)0.01 * g",
    "elu": "d = y > 0 ? g : g * (y + 1)",
    "silu": "d = g * y",
    "gelu": "d = g * y",
}
DIRECTION = {
    "classical": "v = beta * v + s; w -= rate * v",
    "averaged": "v = beta * v - rate * ((T)1 - beta) * s; w += v",
    "nesterov": "v = beta * v + s; w -= rate * (s + beta * v)",
}

_activate = {
    name: cupy.ElementwiseKernel(
        "T z, T b",
        "T y, T s" if name in SLOPED else "T y",
        f"T a = z + b; {code}",
        f"activate_{name.replace('-', '_')}",
    )
    for name, code in VALUE.items()
}
_gradient = {
    name: cupy.ElementwiseKernel(
        "T g, T y", "T d", code, f"activation_gradient_{name.replace('-', '_')}"
    )
    for name, code in DERIVATIVE.items()
}
_momentum = {
    name: cupy.ElementwiseKernel(
        "T g, T inverse, T rate, T beta, T decay",
        "T w, T v",
        f"T s = inverse * g + decay * w; {code}",
        f"momentum_{name}",
    )
    for name, code in DIRECTION.items()
}

_adam = cupy.ElementwiseKernel(
    "T g, T inverse, T decay, T keep, T beta1, T rest1, T beta2, T rest2, T rate, T root, T eps",
    "T w, T m, T v",
    """
    T s = inverse * g + decay * w;
    m = beta1 * m + rest1 * s;
    v = beta2 * v + rest2 * s * s;
    w = keep * w - rate * m / (root * sqrt(v) + eps);
    """,
    "adam",
)

_average = cupy.ElementwiseKernel("T w, T part", "T a", "a += (w - a) * part", "average")
_square_sum = cupy.ReductionKernel(
    "T x", "float64 y", "(double)x * (double)x", "a + b", "y = a", "0", "square_sum"
)


def activate(z: Array, bias: Array, activation: str, slope: Array | None = None) -> None:
    """Replace `z` (rows, units) by `f(z + bias)`; the formulas stand at the processor's."""
    if activation not in SLOPED:
        _activate[activation](z, bias, z)
    else:
        _activate[activation](z, bias, z, cupy.empty_like(z) if slope is None else slope)


def activation_gradient(dy: Array, y: Array, activation: str, dbias: Array, scratch: Array) -> None:
    """Replace `dy` by `dy f'(a)`, where `y = f(a)`, and write its sum over rows to `dbias`."""
    _gradient[activation](dy, y, dy)
    cupy.sum(dy, axis=0, out=dbias)


def momentum(
    form: str, w: Array, v: Array, g: Array, inverse: float, rate: float, beta: float,
    decay: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w` and `v`; the formulas stand at the processor's `momentum`.

    Returns 0: the sum of bits would need one more pass over memory.
    """
    _momentum[form](g, inverse, rate, beta, decay, w, v)
    return 0


def adam(
    w: Array, m: Array, v: Array, g: Array, inverse: float, decay: float, keep: float,
    beta1: float, beta2: float, rate: float, root: float, epsilon: float,
) -> int:  # fmt: skip
    """Apply one update to flat `w`, `m` and `v`; the formulas stand at the processor's `adam`.

    Returns 0, as `momentum` does.
    """
    _adam(g, inverse, decay, keep, beta1, 1 - beta1, beta2, 1 - beta2, rate, root, epsilon, w, m, v)
    return 0


def average(a: Array, w: Array, part: float) -> None:
    """Move flat `a` towards `w`: `a = a + (w - a) part`."""
    _average(w, part, a)


def square_sums(x: Array) -> Array:
    """Return the sum of squares of flat `x`, as one float64 in an array."""
    return _square_sum(x).reshape(1)
