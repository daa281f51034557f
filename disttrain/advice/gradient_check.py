"""Compares a backward pass with central differences of its forward pass, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from disttrain.arrays import Array, Cpu, Workspace, generator
from disttrain.errors import UsageError
from disttrain.model import Backward, Context, Layer, Loss, Network, Parameter, Pass, Shape

__all__ = ["GradientCheck", "gradient_check"]

# From this relative error on, shorter steps are tried.
GOOD = 1e-7
# Where the slopes to both sides differ by more than this part, there is a kink, as in ReLU's zero.
KINK = 0.01
EPS = float(np.finfo("f8").eps)


@dataclass(frozen=True)
class GradientCheck:
    """The number whose derivative is worst, of all that were `checked`.

    `error` is `|a - n| / max(|a|, |n|, floor)` with `a` what backward says (`analytic`) and `n` the
    central difference (`numeric`); `parameter` is "dense1/weight" or "inputs", `index` the place in
    it. The floor is a thousandth of the parameter's greatest derivative, or what rounding of the
    loss leaves of a central difference, whichever is more. At `kinks`, as in the zero of a ReLU,
    there is no derivative: these numbers are left out.
    """

    error: float
    parameter: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    checked: int
    kinks: int = 0

    @property
    def where(self) -> str:
        """The worst number, as in "dense1/weight[3, 2]"."""
        return f"{self.parameter}[{', '.join(map(str, self.index))}]"

    def assert_ok(self, tolerance: float = 1e-6) -> None:
        """Raise AssertionError, which names the worst number, where the error is not below."""
        if not self.error <= tolerance:
            raise AssertionError(
                f"backward gives {self.analytic:.6g} for {self.where}, central differences give "
                f"{self.numeric:.6g}: relative error {self.error:.1e}, more than {tolerance:.0e}"
            )


def gradient_check(
    what: Layer | Sequence[Layer] | Network,
    inputs: np.ndarray | int | tuple[int, ...] = 4,
    targets: np.ndarray | None = None,
    loss: Loss | None = None,
    *,
    sample: int | None = None,
    step: float = 1e-5,
    seed: int = 0,
) -> GradientCheck:
    """Compare backward with `(L(w + step) - L(w - step)) / (2 step)` for weights and inputs.

        disttrain.gradient_check(Scale()).assert_ok()
        disttrain.gradient_check([Dense(5, "tanh"), Dense(3)], x, y, Softmax()).assert_ok()

    `inputs` are samples, or the shape of one, as 4 or (1, 8, 8): five are drawn then. Without
    `loss` it is `Σ c h`, random `c`, over the outputs `h`. A layer or a stack of layers gets its
    initial parameters, each moved at random by about 0.1, because zeros and ones hide mistakes; a
    `Network` keeps its own, and is left as it is. `sample` bounds how many numbers of each
    parameter, and of the inputs, are looked at: all where it is left out. Everything is computed
    in float64 on the processor.
    """
    random = generator(seed, "gradient check")
    rows = _rows(inputs, random)
    network, names = _copied(what, rows, seed)
    if not isinstance(what, Network):
        _nudge(network, random)
    judge = loss or _Linear(random.standard_normal((len(rows), *network.shapes[-1])))
    total, analytic = _both(network, rows, targets, judge)
    places = zip(names, network.layout.views(network.values), analytic, strict=True)
    found = [
        _worst(total, f"{name}/{key}".removeprefix("/"), w, there[key], sample, step, random)
        for name, here, there in places
        for key, w in here.items()
        # Running averages have no gradient.
        if key in there
    ]
    worst = max(found, key=lambda check: check.error)
    sums = {key: sum(getattr(check, key) for check in found) for key in ("checked", "kinks")}
    return GradientCheck(**vars(worst) | sums)


def _both(
    network: Network, rows: np.ndarray, targets: np.ndarray | None, loss: Loss
) -> tuple[Callable[[], float], list[dict[str, Array]]]:
    """Return a function for the loss at the network's weights, and the gradients by backward."""
    if targets is not None and targets.dtype.kind not in "iu":
        targets = targets.astype("f8")
    context = Context("loss", Cpu(), "float64", Workspace(Cpu().empty), {})
    # NaN stays where backward does not write, or where it adds instead of writing.
    gradients = np.full(network.layout.length, np.nan)
    views = network.layout.views(gradients)
    outputs, backward = network.forward(rows, Pass(gradients=views))
    _, loss_gradient = loss.forward(outputs, targets, context)
    backward(loss_gradient())
    for span in network.layout.spans:
        if not span.trained:
            del views[span.layer][span.name]

    def visit() -> float:
        return float(np.sum(loss.forward(network.forward(rows, Pass())[0], targets, context)[0]))

    return visit, views


def _nudge(network: Network, random: np.random.Generator) -> None:
    """Move all parameters a little, but not the inputs, which are the parameter of `_Inputs`."""
    nudge = 0.1 * random.standard_normal(len(network.values))
    network.layout.views(nudge)[0]["inputs"][...] = 0
    network.values += nudge


def _rows(inputs: np.ndarray | int | tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if isinstance(inputs, int | tuple):
        shape = inputs if isinstance(inputs, tuple) else (inputs,)
        return random.standard_normal((5, *shape))
    if not len(inputs):
        raise UsageError("gradient_check needs at least one row of inputs")
    rows = np.array(inputs, "f8")
    return rows if rows.ndim > 1 else rows[:, None]


def _copied(
    what: Layer | Sequence[Layer] | Network, rows: np.ndarray, seed: int
) -> tuple[Network, list[str]]:
    """Return a float64 network of the layers behind one that holds the inputs, and their names."""
    layers = what.layers if isinstance(what, Network) else what
    stack = [layers] if isinstance(layers, Layer) else list(layers)
    network = Network([_Inputs(rows), *stack], rows.shape[1:], "float64", Cpu(), seed)
    names = ["", *(f"{layer.kind}{n}" for n, layer in enumerate(stack, 1))]
    if isinstance(what, Network):
        for here, name in zip(network.layout.views(network.values)[1:], what.names, strict=True):
            for key, w in here.items():
                w[...] = what.tensors(what.values)[f"{name}/{key}"]
    return network, names


def _worst(
    total: Callable[[], float], name: str, w: np.ndarray, analytic: np.ndarray,
    sample: int | None, step: float, random: np.random.Generator,
) -> GradientCheck:  # fmt: skip
    """Return the check of the worst number of one parameter."""
    chosen = np.arange(w.size)
    if sample is not None and sample < w.size:
        chosen = np.sort(random.choice(w.size, sample, replace=False))
    rounding = EPS * max(abs(total()), 1.0) / step / GOOD
    greatest = float(np.abs(analytic).max(initial=0.0))
    floor = max(1e-3 * greatest, rounding) if math.isfinite(greatest) else rounding
    worst, kinks = (0.0, 0, 0.0, 0.0), 0
    for n in chosen.tolist():
        a = float(analytic.flat[n])
        found = _error(total, w, n, a, floor, step)
        if found is None:
            kinks += 1
        else:
            worst = max(worst, (found[0], n, a, found[1]))
    place = tuple(int(i) for i in np.unravel_index(worst[1], w.shape)) if w.size else ()
    return GradientCheck(worst[0], name, place, worst[2], worst[3], len(chosen) - kinks, kinks)


def _error(
    total: Callable[[], float], w: np.ndarray, n: int, a: float, floor: float, step: float
) -> tuple[float, float] | None:
    """Return the relative error of the derivative `a` by number `n` of `w`, and the difference.

    Where it is not good, shorter steps are tried: a long one may reach across a kink nearby. None
    where the number itself is at a kink.
    """
    kept, here = float(w.flat[n]), total()
    best = math.inf, math.nan
    left = right = math.nan
    for h in (step, step / 10, step / 100):
        w.flat[n] = kept + h
        right = (total() - here) / h
        w.flat[n] = kept - h
        left = (here - total()) / h
        w.flat[n] = kept
        numeric = (left + right) / 2
        error = abs(a - numeric) / max(abs(a), abs(numeric), floor)
        if math.isnan(best[1]) or error < best[0]:
            # An error of NaN counts as infinite.
            best = (error if math.isfinite(error) else math.inf), numeric
        if best[0] < GOOD:
            return best
    if abs(right - left) > KINK * max(abs(left), abs(right), floor):
        return None
    return best


class _Inputs(Layer):
    """Gives its parameter, the rows themselves, to the next layer: so they get a gradient too."""

    kind = "inputs"

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return the rows as a parameter."""
        return {"inputs": Parameter(self._rows.shape, lambda random: self._rows)}

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return a copy of the rows, whatever `x` is."""

        def backward(dy: Array) -> None:
            if dy is not None:
                ctx.gradients["inputs"][:] = dy

        return ctx.values["inputs"].copy(), backward


class _Linear(Loss):
    """`L = Σ c h`: a loss whose gradient is a constant."""

    def __init__(self, c: np.ndarray) -> None:
        self._c = c

    def forward(
        self, outputs: Array, targets: Array, ctx: Context
    ) -> tuple[Array, Callable[[], Array]]:
        """Return `Σ c h` and the function for `c`."""
        return (self._c * outputs).sum(dtype="f8"), lambda: self._c.copy()
