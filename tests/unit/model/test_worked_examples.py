"""The worked examples of a course, number by number.

Softmax of [0.6, -1, 5, 8, 4] and squared loss of [3, 1, -2] are in test_losses.py; the course of
classical and averaged momentum on a parabola is in tests/reference/test_closed_form.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from disttrain.advice.gradient_check import gradient_check
from disttrain.arrays import Cpu, Workspace
from disttrain.model import Backward, Context, Dense, Layer, Network, Parameter, Shape


def passed(
    layers: list[Layer], x: list[float], upstream: float, **values: float
) -> tuple[float, list[float], dict[str, float]]:
    """Pass one sample forward and `upstream` back; return output, input gradients, parameters'."""
    gradients = {name: np.full(1, np.nan) for name in values}
    context = Context(
        "node", Cpu(), "float64", Workspace(Cpu().empty),
        {name: np.array([float(value)]) for name, value in values.items()}, gradients,
    )  # fmt: skip
    h, backwards = np.array([x], "f8"), []
    for layer in layers:
        h, backward = layer.forward(h, context)
        backwards.append(backward)
    dh = np.array([[upstream]], "f8")
    for backward in reversed(backwards):
        dh = backward(dh)
    return h.item(), dh[0].tolist(), {name: float(g[0]) for name, g in gradients.items()}


class Sum(Layer):
    """`(x, y, z)` to `(x + y, z)`: a sum hands its gradient to each of its terms."""

    def outputs(self, shape: Shape) -> Shape:
        return (2,)

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        return np.stack([x[:, 0] + x[:, 1], x[:, 2]], 1), lambda dh: dh[:, [0, 0, 1]]


class Product(Layer):
    """`(q, z)` to `q z`: each factor's gradient is the other factor."""

    def outputs(self, shape: Shape) -> Shape:
        return (1,)

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        return x[:, :1] * x[:, 1:], lambda df: df * x[:, ::-1]


class Reciprocal(Layer):
    """`r = 1 / x`, `dr/dx = -r²`."""

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        r = 1 / x
        return r, lambda dr: -dr * r * r


class Exp(Layer):
    """`e = exp(r)`, `de/dr = e`."""

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        e = np.exp(x)
        return e, lambda de: de * e


class Node(Layer):
    """`o = u (w x + v y)` for a sample `(x, y)`, with the parameters u, v and w."""

    def outputs(self, shape: Shape) -> Shape:
        return (1,)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"u": Parameter((1,), 2.0), "v": Parameter((1,), 3.0), "w": Parameter((1,), 1.0)}

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Backward]:
        u, v, w = (ctx.values[name] for name in "uvw")
        s = x[:, :1] * w + x[:, 1:] * v

        def backward(do: np.ndarray) -> np.ndarray:
            ds = do * u
            ctx.gradients["u"][:] = (do * s).sum()
            ctx.gradients["w"][:] = (ds * x[:, :1]).sum()
            ctx.gradients["v"][:] = (ds * x[:, 1:]).sum()
            return np.concatenate([ds * w, ds * v], 1)

        return u * s, backward


def test_the_small_graph() -> None:
    """f = (x + y) z at (-2, 5, -4)."""
    f, gradients, _ = passed([Sum(), Product()], [-2, 5, -4], 1)
    assert f == -12
    assert gradients == [-4, -4, 3]
    gradient_check([Sum(), Product()], np.array([[-2.0, 5, -4]])).assert_ok()


@pytest.mark.parametrize("x", [0.5, 2.0, -3.0])
def test_staging_of_exp_of_a_reciprocal(x: float) -> None:
    """d exp(1/x) / dx = -exp(1/x) / x², in two stages that know nothing of each other."""
    f, (gradient,), _ = passed([Reciprocal(), Exp()], [x], 1)
    assert f == pytest.approx(np.exp(1 / x), rel=1e-15)
    assert gradient == pytest.approx(-np.exp(1 / x) / x**2, rel=1e-14)
    gradient_check([Reciprocal(), Exp()], np.array([[x]])).assert_ok()


def test_every_partial_derivative_of_a_node() -> None:
    """o = u (w x + v y) with w=1, x=2, v=3, y=4, u=2, where 3 comes back from what follows."""
    o, (dx, dy), parameters = passed([Node()], [2, 4], 3, u=2, v=3, w=1)
    assert o == 28
    # The sum is 14; its own gradient is 3 u = 6.
    assert parameters == {"u": 3 * 14, "w": 6 * 2, "v": 6 * 4}
    assert (dx, dy) == (6 * 1, 6 * 3)
    check = gradient_check(Node(), np.array([[2.0, 4.0], [1.0, -1.0]]))
    assert check.checked == 7
    check.assert_ok()


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu"])
def test_dense_against_the_textbooks_columns(activation: str) -> None:
    """dL/dW = diag(h'(a)) dL/dh xᵀ, dL/db = diag(h'(a)) dL/dh, dL/dx = Wᵀ diag(h'(a)) dL/dh."""
    derivative = {
        "identity": lambda a: np.ones_like(a),
        "sigmoid": lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2,
        "tanh": lambda a: 1 / np.cosh(a) ** 2,
        "relu": lambda a: (a > 0).astype("f8"),
    }[activation]
    random = np.random.default_rng(1)
    w, b = random.normal(size=(4, 3)), random.normal(size=4)
    context = Context(
        "dense1", Cpu(), "float64", Workspace(Cpu().empty), {"weight": w, "bias": b},
        {"weight": np.empty((4, 3)), "bias": np.empty(4)},
    )  # fmt: skip
    rows, upstream = random.normal(size=(6, 3)), random.normal(size=(6, 4))
    _, backward = Dense(4, activation).forward(rows, context)
    dx = backward(upstream.copy())
    dw, db = np.zeros((4, 3)), np.zeros(4)
    for row, dl_dh, found in zip(rows, upstream, dx, strict=True):
        x = row[:, None]
        d = np.diag(derivative(w @ row + b))
        dw += d @ dl_dh[:, None] @ x.T
        db += d @ dl_dh
        np.testing.assert_allclose(found, w.T @ d @ dl_dh, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(context.gradients["weight"], dw, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(context.gradients["bias"], db, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_linear_layers_collapse_into_one(activation: str) -> None:
    """W = W₃ W₂ W₁ and b = W₃ (W₂ b₁ + b₂) + b₃ do the same, but for layers that are not linear."""
    stack = [Dense(7, activation, bias=0.3), Dense(5, activation, bias=-0.2), Dense(2, bias=0.1)]
    deep = Network(stack, (4,), "float64", Cpu(), seed=3)
    w1, b1, w2, b2, w3, b3 = deep.tensors(deep.values).values()
    flat = Network([Dense(2)], (4,), "float64", Cpu(), seed=4)
    collapsed = {"dense1/weight": w3 @ w2 @ w1, "dense1/bias": w3 @ (w2 @ b1 + b2) + b3}
    flat.load(collapsed, flat.values)
    x = np.random.default_rng(0).normal(size=(50, 4))
    equal = np.allclose(deep.predict(x), flat.predict(x), rtol=1e-12, atol=1e-13)
    assert equal is (activation == "identity")
